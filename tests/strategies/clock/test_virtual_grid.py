"""The virtual clock: when answers count, in which order, and what really runs when."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from fedbouquet.testing import InstantClients
from models.errors import BouquetError
from models.schema import NamedArrays
from strategies.clock.population import Device, make_population
from strategies.clock.scenario import Scenario
from strategies.clock.virtual_grid import VirtualGrid
from strategies.clock.work import LocalWork
from strategies.participation import make_participation
from strategies.participation.base import Model
from strategies.transport.exchange import Arrival, Rejection, Reply, Request

START = NamedArrays.of({"w": np.zeros((5, 5), np.float32)})
A, B, C = "client-00000", "client-00001", "client-00002"


def build(client: str) -> Request:
    return Request(client, START)


def grid(
    speeds: Sequence[float] = (100.0, 50.0, 10.0),
    participation: Model | None = None,
    **options: object,
) -> tuple[VirtualGrid, InstantClients]:
    """Clients with 100 examples and given speeds: by default they take 1, 2 and 10 seconds."""
    inner = InstantClients(len(speeds), START)
    population = make_population("same", options, seed=3)
    fixed = {client.id: speed for client, speed in zip(inner.roster, speeds, strict=True)}
    links = population.device(inner.roster[A])
    population._draw = lambda client: Device(  # type: ignore[method-assign]
        fixed[client.id], links.downlink, links.uplink
    )
    population._devices.clear()
    always = make_participation("always", {}, seed=3)
    assert isinstance(always, Model)
    scenario = Scenario(population, participation or always, LocalWork())
    return VirtualGrid(inner, scenario), inner


def model(name: str, **options: object) -> Model:
    found = make_participation(name, options, seed=3)
    assert isinstance(found, Model)
    return found


def told(arrivals: Sequence[Arrival]) -> list[tuple[str, int, float, float]]:
    return [(a.item.client, a.base_round, a.sent, a.arrived) for a in arrivals]


# ---- all are waited for --------------------------------------------------------------------


def test_a_round_lasts_as_long_as_its_slowest() -> None:
    clock, _ = grid()
    replies = list(clock.exchange("train", [A, B, C], build, server_round=1, timeout=60.0))
    assert [reply.client for reply in replies] == [A, B, C]
    assert clock.now() == 10.0
    list(clock.exchange("train", [A, B], build, server_round=2, timeout=60.0))
    assert clock.now() == 12.0
    first, second = clock.trainings()[:2]
    assert (first.client, first.sent, first.arrived, first.outcome) == (A, 0.0, 1.0, "answered")
    assert second.arrived == 2.0
    assert clock.trainings() == []


def test_links_and_bytes_count() -> None:
    clock, _ = grid(downlink=50.0, uplink=10.0)
    list(clock.exchange("train", [A], build, server_round=1, timeout=60.0))
    assert clock.now() == 100 / 50 + 1.0 + 100 / 10  # 25 numbers of 4 bytes


def test_who_is_too_slow_for_the_timeout_is_not_asked_at_all() -> None:
    clock, inner = grid()
    answers = list(clock.exchange("train", [A, B, C], build, server_round=1, timeout=5.0))
    late = [item for item in answers if isinstance(item, Rejection)]
    assert [(item.client, item.code) for item in late] == [(C, "timeout")]
    assert "takes 10 s" in late[0].detail
    assert inner.asked == [(1, (A, B))]
    assert clock.now() == 5.0


def test_evaluation_costs_no_time() -> None:
    clock, _ = grid()
    answers = list(clock.exchange("evaluate", [A, B, C], build, server_round=1, timeout=1e-3))
    assert all(isinstance(item, Reply) for item in answers)
    assert clock.now() == 0.0


def test_where_nobody_is_there_the_clock_goes_on() -> None:
    clock, _ = grid(participation=model("bernoulli", p=0.5), tick=60.0)
    list(clock.exchange("train", [], build, server_round=1, timeout=1e9))
    assert clock.now() == 60.0


def test_a_dropout_costs_the_timeout() -> None:
    clock, inner = grid(participation=model("always", dropout=0.999999))
    (answer,) = clock.exchange("train", [A], build, server_round=1, timeout=30.0)
    assert isinstance(answer, Rejection)
    assert answer.code == "dropout"
    assert clock.now() == 30.0
    assert inner.asked == [(1, ())]


# ---- not all are waited for ----------------------------------------------------------------


def test_answers_come_in_order_of_their_seconds() -> None:
    clock, _ = grid()
    clock.send([C, B, A], build, server_round=1, timeout=60.0)
    assert dict(clock.under_way) == {C: 1, B: 1, A: 1}
    (first,) = clock.next(math.inf)
    assert told([first]) == [(A, 1, 0.0, 1.0)]
    assert isinstance(first.item, Reply)
    assert first.start is START
    clock.send([A], build, server_round=2, timeout=60.0)
    # Both at second 2; the one sent first has no precedence over the roster.
    assert told(clock.next(math.inf)) == [(A, 2, 1.0, 2.0), (B, 1, 0.0, 2.0)]
    assert told(clock.next(5.0)) == []
    assert clock.now() == 5.0
    assert told(clock.next(math.inf)) == [(C, 1, 0.0, 10.0)]
    assert clock.now() == 10.0
    assert not clock.under_way
    assert [t.client for t in clock.trainings()] == [A, A, B, C]


def test_trainings_run_together_when_the_first_of_them_is_needed() -> None:
    clock, inner = grid()
    clock.send([A, B], build, server_round=1, timeout=60.0)
    assert inner.asked == []
    clock.next(math.inf)
    assert inner.asked == [(1, (A, B))]
    clock.send([C], build, server_round=2, timeout=60.0)
    clock.next(math.inf)  # B, which has run already
    assert len(inner.asked) == 1
    clock.send([A], build, server_round=3, timeout=60.0)
    clock.next(math.inf)
    assert inner.asked[1:] == [(2, (C,)), (3, (A,))]


def test_nobody_trains_twice_at_once() -> None:
    clock, _ = grid()
    clock.send([A], build, server_round=1, timeout=60.0)
    with pytest.raises(BouquetError, match="still training"):
        clock.send([A], build, server_round=2, timeout=60.0)


def test_who_is_released_never_answers_and_may_be_asked_again() -> None:
    clock, inner = grid()
    clock.send([A, B, C], build, server_round=1, timeout=60.0)
    clock.next(math.inf)
    clock.release([B, C])
    assert not clock.under_way
    assert [(t.client, t.arrived, t.outcome) for t in clock.trainings()] == [
        (A, 1.0, "answered"), (B, 1.0, "released"), (C, 1.0, "released")
    ]  # fmt: skip
    clock.send([B], build, server_round=2, timeout=60.0)
    assert told(clock.next(math.inf)) == [(B, 2, 1.0, 3.0)]
    assert inner.asked[-1] == (2, (B,))


def test_who_never_answers_is_given_up_at_the_timeout() -> None:
    clock, _ = grid(participation=model("always", dropout=0.999999))
    clock.send([A, C], build, server_round=1, timeout=7.0)
    arrivals = clock.next(math.inf)
    assert told(arrivals) == [(A, 1, 0.0, 7.0), (C, 1, 0.0, 7.0)]
    assert [a.item.code for a in arrivals if isinstance(a.item, Rejection)] == ["dropout"] * 2
    assert arrivals[0].start is None


def test_a_client_that_fails_costs_only_itself() -> None:
    clock, inner = grid()
    inner.refused = frozenset([A])
    clock.send([A, B], build, server_round=1, timeout=60.0)
    (failed,) = clock.next(math.inf)
    assert isinstance(failed.item, Rejection)
    assert failed.item.code == "client-app"
    assert failed.arrived == 1.0
    (well,) = clock.next(math.inf)
    assert isinstance(well.item, Reply)


def test_with_nobody_under_way_the_clock_stops_where_somebody_may_come() -> None:
    clock, _ = grid(participation=model("bernoulli", p=0.5), tick=60.0)
    assert clock.next(1000.0) == ()
    assert clock.now() == 60.0
    assert clock.next(100.0) == ()
    assert clock.now() == 100.0
    lonely, _ = grid()
    assert lonely.next(math.inf) == ()
    assert lonely.now() == 0.0


def test_a_resumed_clock_repeats_itself() -> None:
    options = {"jitter": 0.4, "participation": model("always", dropout=0.3)}

    def play(clock: VirtualGrid, rounds: range) -> list[tuple[str, int, float, float]]:
        heard = []
        for server_round in rounds:
            idle = [c for c in (A, B, C) if c not in clock.under_way]
            clock.send(idle, build, server_round=server_round, timeout=25.0)
            heard += told(clock.next(math.inf))
        return heard

    whole, _ = grid(**options)  # type: ignore[arg-type]
    play(whole, range(1, 20))
    left = {**whole.under_way}
    when = {client: whole._flights._by_client[client].sent for client in left}
    again, _ = grid(**options)  # type: ignore[arg-type]
    again.set_clock(whole.now())
    for client, base_round in left.items():
        again.send([client], build, server_round=base_round, timeout=25.0, sent=when[client])
    assert play(again, range(20, 60)) == play(whole, range(20, 60))


def test_norms_are_held_against_those_before_when_an_answer_counts() -> None:
    clock, inner = grid()
    clock.send([A, B], build, server_round=4, timeout=60.0)
    clock.next(math.inf)
    # B has run, and its norm is not known yet; an update of ones has norm 5.
    assert inner.gate.state() == {"round": 4, "norms": [5.0]}
    clock.send([C], build, server_round=5, timeout=60.0)
    clock.next(math.inf)
    assert inner.gate.state() == {"round": 5, "norms": [5.0, 5.0]}
    clock.send([A], build, server_round=2, timeout=60.0, sent=1.5)  # of a run that is resumed
    clock.next(math.inf)
    assert inner.gate.state() == {"round": 5, "norms": [5.0] * 3}
