"""Rounds that do not wait for everybody, of clients that come and go on a virtual clock."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from flwr.serverapp.strategy import FedAvg as FlowerFedAvg
from flwr.serverapp.strategy import strategy_utils

from fedbouquet.testing import InstantClients
from models.errors import ConfigurationError, ParticipationError
from models.records import to_stock
from models.schema import NamedArrays
from strategies.asynchronous.fedbuff import FedBuff
from strategies.asynchronous.fedcompass import FedCompass
from strategies.clock.population import make_population
from strategies.clock.scenario import Scenario
from strategies.clock.virtual_grid import VirtualGrid
from strategies.fedavg import FedAvg
from strategies.participation import make_participation
from strategies.rounds.closing import make_closing
from strategies.rounds.loop import RoundLoop
from strategies.rounds.options import LoopOptions
from strategies.rounds.record import RoundRecord
from strategies.transport.client_nodes import client_node_id
from strategies.transport.exchange import Arrival

START = NamedArrays.of({"w": np.zeros((2, 2), np.float32)})
NAMES = [f"client-{number:05d}" for number in range(8)]
_MOST_LOOKS = 20_000


class Looks(VirtualGrid):
    """Raises where a loop would look for ever, and remembers who was asked to train."""

    looks = 0
    trained: frozenset[str] = frozenset()

    def next(self, until: float) -> Sequence[Arrival]:
        self.looks += 1
        assert self.looks < _MOST_LOOKS, "the round never closes"
        self.trained |= {*self.under_way}
        return super().next(until)


def grid(
    clients: int, name: str, tick: float = 10.0, speed: float = 100.0, **options: object
) -> Looks:
    """Clients that take a second a training, or 100 / speed of them."""
    population = make_population("same", {"tick": tick, "speed": speed}, seed=1)
    model = make_participation(name, options, seed=1)
    return Looks(InstantClients(clients, START), Scenario(population, model))


def clients_of(clock: Looks) -> InstantClients:
    assert isinstance(clock._inner, InstantClients)
    return clock._inner


def closed(
    clock: Looks, closing: str, rounds: int = 4, timeout: float = 60.0, **args: object
) -> list[RoundRecord]:
    strategy = FedAvg()
    loop = RoundLoop(
        strategy,
        clock,
        LoopOptions(rounds, evaluate_every=0, round_timeout=timeout),
        participation=clock.presence,
        closing=make_closing(closing, strategy, args),
    )
    loop.start(START)
    return list(loop.rounds())[1:]


def events(tmp_path: Path, *lines: str) -> str:
    file = tmp_path / "events.csv"
    file.write_text("\n".join(["client,second,event", *lines]) + "\n")
    return str(file)


# ---- nobody is left to wait for ------------------------------------------------------------


@pytest.mark.parametrize("name", ["bernoulli", "markov", "cyclic"])
def test_a_buffer_larger_than_the_federation_closes_with_all(name: str) -> None:
    records = closed(grid(4, name), "buffer", size=10)
    assert [record.clients_answered for record in records] == [4] * 4


def test_a_buffer_closes_without_those_who_failed() -> None:
    clock = grid(5, "bernoulli", p=0.5)
    clients_of(clock).refused = frozenset(NAMES[:2])
    records = closed(clock, "buffer", size=4)
    assert [record.clients_answered for record in records] == [3] * 4
    assert {rejection.client for record in records for rejection in record.rejected} == {*NAMES[:2]}


def test_who_is_never_there_is_not_waited_for() -> None:
    clock = grid(8, "bernoulli", spread="two-groups", low=0.0, high=0.5)
    records = closed(clock, "buffer", size=6)
    assert [record.answered for record in records] == [tuple(NAMES[::2])] * 4


def test_a_round_in_which_everybody_drops_out_is_one_with_nobody() -> None:
    clock = grid(3, "bernoulli", p=0.5, dropout=0.999999)
    records = closed(clock, "each", rounds=2)
    assert [record.clients_answered for record in records] == [0, 0]
    assert [len(record.rejected) for record in records] == [3, 3]


def test_where_everybody_fails_the_run_ends() -> None:
    clock = grid(3, "bernoulli", p=0.5, speed=1.0)  # a training takes 100 s
    with pytest.raises(ParticipationError, match=r"no answer in 5 s of the virtual clock"):
        closed(clock, "buffer", timeout=5.0, size=2)


def test_after_the_end_of_a_trace_rounds_are_empty(tmp_path: Path) -> None:
    file = tmp_path / "trace.csv"
    file.write_text(f"client,from,to\n{NAMES[0]},1,2\n{NAMES[1]},1,1\n")
    records = closed(grid(3, "trace", tick=1.5, file=str(file)), "each", rounds=5)
    # Ticks of 1.5 s and trainings of 1 s: both once, then the first of them up to second 3.
    assert [record.answered for record in records] == [
        (NAMES[0],),
        (NAMES[1],),
        (NAMES[0],),
        (),
        (),
    ]


# ---- who comes while others train ----------------------------------------------------------


def test_who_comes_is_asked_at_once(tmp_path: Path) -> None:
    file = events(tmp_path, f"{NAMES[0]},0,on", f"{NAMES[1]},4,on")
    clock = grid(2, "events", speed=10.0, file=file)
    (record,) = closed(clock, "buffer", rounds=1, size=2)
    assert [(t.client, t.sent, t.arrived) for t in record.trainings] == [
        (NAMES[0], 0.0, 10.0),
        (NAMES[1], 4.0, 14.0),
    ]


# ---- strategies in a ServerApp of somebody's own -------------------------------------------


def test_flowers_strategies_see_who_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    naps: list[float] = []
    monkeypatch.setattr(strategy_utils, "sleep", naps.append)
    lines = [f"{NAMES[0]},0,on", f"{NAMES[1]},7,on", f"{NAMES[0]},9,off", f"{NAMES[2]},9,on"]
    clock = grid(3, "events", file=events(tmp_path, *lines))
    stock = FlowerFedAvg(fraction_evaluate=0.0)  # at least two nodes
    result = stock.start(clock, to_stock(START), num_rounds=3, timeout=1.5)
    assert naps == [1]  # with one node it waits, and the clock goes on
    asked = [(t.client, t.sent) for t in clock.trainings()]
    assert asked == [
        *[(NAMES[0], 7.0), (NAMES[1], 7.0)],
        *[(NAMES[1], 8.0), (NAMES[0], 8.0)],  # who left, and so is given up at 9.5
        *[(NAMES[1], 9.5), (NAMES[2], 9.5)],
    ]
    np.testing.assert_array_equal(result.arrays["w"].numpy(), np.full((2, 2), 3.0))


def test_looking_does_not_move_the_clock_where_everybody_is_there() -> None:
    clock = grid(2, "always")
    for _ in range(3):
        assert list(clock.get_node_ids()) == [client_node_id(name) for name in NAMES[:2]]
    assert clock.now() == 0.0


def test_our_strategies_keep_to_the_scenario_and_to_the_rule(tmp_path: Path) -> None:
    file = events(tmp_path, *(f"{name},0,on" for name in NAMES[:3]))
    clock = grid(5, "events", file=file)
    FedBuff().start(clock, to_stock(START), num_rounds=4, closing_args={"size": 1})
    assert clock.trained == {*NAMES[:3]}
    assert clock.now() == 2.0  # three at second 1, which are three rounds, and one at second 2
    clock = grid(5, "always")
    FedCompass().start(clock, to_stock(START), num_rounds=5, closing="interval",
                       closing_args={"seconds": 3})  # fmt: skip
    assert clock.now() == 15.0
    with pytest.raises(ConfigurationError, match="the method plans no groups"):
        FedBuff().start(clock, to_stock(START), closing="planned")
    with pytest.raises(ConfigurationError, match="size"):
        FedBuff().start(clock, to_stock(START), closing_args={"size": 0})
