"""The client grid's trainings under way on the real clock: lost packs, nodes that go, time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from flwr.app import Error, Message
from hostile_clients import packed, start, trained

from fedbouquet.testing import LocalGrid
from models.errors import BouquetError
from strategies.fedavg import FedAvg
from strategies.rounds.closing import make_closing
from strategies.rounds.loop import RoundLoop
from strategies.rounds.options import LoopOptions
from strategies.transport.client_grid import ClientGrid
from strategies.transport.exchange import Arrival, Rejection, Reply, Request

# Clients c-0 and c-2 are on node 1000, c-1 and c-3 on node 1001.


class Held:
    """Answers that a node keeps to itself until it is let go."""

    def __init__(self, grid: ClientGrid, *nodes: int) -> None:
        below = grid._below
        assert isinstance(below, LocalGrid)
        self.nodes = set(nodes)
        self.real = below.pull_messages
        self.below = below
        below.pull_messages = self.pull  # type: ignore[method-assign]

    def pull(self, message_ids: object) -> list[Message]:
        ids = list(message_ids)  # type: ignore[call-overload]
        answers = self.below._answers
        here = [i for i in ids if i in answers and answers[i].metadata.src_node_id in self.nodes]
        return list(self.real([i for i in ids if i not in here]))


def send(grid: ClientGrid, clients: Sequence[str], at: int = 1, timeout: float = 9) -> None:
    model = start()
    grid.send(clients, lambda client: Request(client, model), server_round=at, timeout=timeout)


def outcomes(arrivals: Sequence[Arrival]) -> dict[str, str]:
    said = [arrival.item for arrival in arrivals]
    return {i.client: "answered" if isinstance(i, Reply) else i.code for i in said}


def test_who_is_quick_is_there_while_the_slow_are_under_way() -> None:
    grid = packed()
    held = Held(grid, 1001)
    send(grid, ["c-0", "c-1", "c-2", "c-3"], at=3)
    arrivals = grid.next(grid.now() + 5)
    assert [arrival.client for arrival in arrivals] == ["c-0", "c-2"]
    assert grid.under_way == {"c-1": 3, "c-3": 3}
    for arrival in arrivals:
        assert arrival.base_round == 3
        assert arrival.start is not None
        np.testing.assert_array_equal(arrival.start.vector, start().vector)
        assert 0 <= arrival.sent <= arrival.arrived <= grid.now()
        assert isinstance(arrival.item, Reply)
        assert arrival.item.arrays is not None
        expected = trained(int(arrival.client[2:]), start()).vector
        np.testing.assert_array_equal(arrival.item.arrays.vector, expected)
    with pytest.raises(BouquetError, match="'c-1' is still training"):
        send(grid, ["c-1"])
    held.nodes.clear()
    assert outcomes(grid.next(grid.now() + 5)) == {"c-1": "answered", "c-3": "answered"}
    assert not grid.under_way
    assert [t.outcome for t in grid.trainings()] == ["answered"] * 4


def test_time_is_up_for_each_client_by_itself() -> None:
    grid = packed()
    Held(grid, 1001)
    send(grid, ["c-1"], timeout=0.05)
    send(grid, ["c-3"], timeout=5)
    assert outcomes(grid.next(grid.now() + 2)) == {"c-1": "timeout"}
    assert grid.under_way == {"c-3": 1}


def test_a_late_answer_to_an_older_request_counts_for_nothing() -> None:
    grid = packed()
    held = Held(grid, 1001)
    send(grid, ["c-1"], at=1)
    grid.release(["c-1"])
    send(grid, ["c-1"], at=2)
    held.nodes.clear()
    (arrival,) = grid.next(grid.now() + 5)
    assert arrival.base_round == 2
    assert list(grid.next(grid.now() + 0.05)) == []
    over = [(training.outcome, training.base_round) for training in grid.trainings()]
    assert over == [("released", 1), ("answered", 2)]


def test_a_pack_that_is_lost_is_sent_again_and_then_given_up() -> None:
    grid = packed()
    assert isinstance(grid._below, LocalGrid)
    lost = 0

    def die(message: Message, reply: Message) -> Message:
        nonlocal lost
        if message.metadata.message_type != "train" or message.metadata.dst_node_id != 1001:
            return reply
        lost += 1
        return reply if lost == 2 else Message(Error(code=3, reason="died"), reply_to=message)

    grid._below._tamper = die
    send(grid, ["c-1"])
    assert outcomes(grid.next(grid.now() + 5)) == {"c-1": "answered"}
    send(grid, ["c-1"], at=2)  # the third and the fourth message are lost
    (arrival,) = grid.next(grid.now() + 5)
    assert isinstance(arrival.item, Rejection)
    assert (arrival.item.code, lost) == ("client-app", 4)
    assert arrival.start is None


def test_clients_of_a_node_that_went_away_are_given_up_at_once() -> None:
    grid = packed()
    Held(grid, 1001)
    send(grid, ["c-0", "c-1"], timeout=60)
    assert outcomes(grid.next(grid.now() + 5)) == {"c-0": "answered"}
    grid.roster.leave(1001)
    assert outcomes(grid.next(grid.now() + 5)) == {"c-1": "unreachable"}
    send(grid, ["c-3"])  # it is known, and cannot be reached
    assert outcomes(grid.next(grid.now() + 5)) == {"c-3": "unreachable"}


def test_nobody_under_way_is_no_reason_to_wait() -> None:
    assert list(packed().next(float("inf"))) == []


def test_the_clock_goes_on_where_it_was() -> None:
    seconds = iter([100.0, 101.0, 105.0])
    grid = packed(clock=lambda: next(seconds))
    grid.set_clock(7.0)
    assert grid.now() == 11.0


@pytest.mark.parametrize(("name", "args"), [("each", {}), ("buffer", {"size": 3})])
def test_whole_rounds_with_a_node_that_never_answers(name: str, args: dict[str, object]) -> None:
    grid = packed()
    Held(grid, 1001)
    strategy = FedAvg()
    options = LoopOptions(5, evaluate_every=0, round_timeout=0.3)
    loop = RoundLoop(strategy, grid, options, closing=make_closing(name, strategy, args))
    loop.start(start())
    # The last evaluation waits for everybody, so the records until then are looked at.
    records = [record for record in loop.rounds() if record.round]
    assert {client for record in records for client in record.answered} == {"c-0", "c-2"}
    lost = {(r.client, r.code) for record in records for r in record.rejected}
    assert lost <= {("c-1", "timeout"), ("c-3", "timeout")}
    assert not grid.under_way
