"""What the clock says of a round: staleness from the download, waits, and what came to nothing."""

from __future__ import annotations

import json

import numpy as np

from fedbouquet.testing import InstantClients
from models.schema import NamedArrays
from strategies.rounds.record import RoundRecord
from strategies.rounds.timing import Timing
from strategies.transport.exchange import Arrival, Rejection, Reply, Training
from strategies.transport.roster import Roster

A, B, C = "client-00000", "client-00001", "client-00002"
ROSTER = InstantClients(3, NamedArrays.of({"w": np.zeros(2, np.float32)})).roster


class Clock:
    """As much of an exchange as is read."""

    virtual = True
    roster: Roster = ROSTER

    def __init__(self) -> None:
        self.second = 0.0
        self.ended: list[Training] = []

    def now(self) -> float:
        return self.second

    def trainings(self) -> list[Training]:
        ended, self.ended = self.ended, []
        return ended


def at_close(clock: Clock, second: float, *ended: Training) -> Timing:
    clock.second, clock.ended = second, list(ended)
    return Timing(clock)  # type: ignore[arg-type]


def test_staleness_counts_rounds_closed_since_the_download() -> None:
    clock = Clock()
    timing = at_close(
        clock, 9.0, Training(B, 2, 1.0, 8.0, "answered"), Training(A, 12, 7.5, 9.0, "answered")
    )
    record = timing.added(RoundRecord(12, answered=(A, B)))
    assert record.staleness == {0: 1, 10: 1}
    assert record.idle_seconds == 1.0
    assert record.virtual_seconds == 9.0
    assert [t.client for t in record.trainings] == [B, A]
    assert record.to_dict()["staleness"] == {"0": 1, "10": 1}
    assert RoundRecord.from_json(json.dumps(record.to_dict())).virtual_seconds == 9.0


def test_an_answer_counts_in_the_round_that_takes_it() -> None:
    clock = Clock()
    timing = at_close(clock, 2.0, Training(A, 1, 0.0, 2.0, "answered"))
    first = timing.added(RoundRecord(1))
    assert first.trainings == ()
    assert first.idle_seconds is None
    told = first.to_dict()
    assert (told["virtual_seconds"], told["staleness"], told["idle_seconds"]) == (2.0, {}, 0.0)
    clock.second = 5.0
    second = timing.added(RoundRecord(2, answered=(A,)))
    assert second.staleness == {1: 1}
    assert second.idle_seconds == 3.0


def test_what_came_to_nothing_is_told_in_its_round() -> None:
    clock = Clock()
    timing = at_close(
        clock,
        4.0,
        Training(A, 1, 0.0, 4.0, "timeout"),
        Training(B, 1, 0.0, 4.0, "released"),
        Training(C, 1, 0.0, 3.0, "answered"),
    )
    late = Rejection(C, 1, "late", "the round closed before its turn")
    record = timing.added(RoundRecord(1, rejected=(late,)))
    assert [(t.client, t.outcome) for t in record.trainings] == [
        (C, "late"),
        (A, "timeout"),
        (B, "released"),
    ]


def test_what_waited_is_known_to_a_run_that_is_resumed() -> None:
    clock = Clock()
    timing = at_close(clock, 6.0)
    timing.resume([Arrival(Reply(A, "", None, 5, {}), 1, 0.5, 2.0)])
    record = timing.added(RoundRecord(3, answered=(A,)))
    assert record.trainings == (Training(A, 1, 0.5, 2.0, "answered"),)
    assert record.staleness == {2: 1}


def test_without_a_virtual_clock_nothing_is_said_of_it() -> None:
    clock = Clock()
    clock.virtual = False
    record = at_close(clock, 6.0).added(RoundRecord(1))
    assert record.virtual_seconds is None
    assert not {"virtual_seconds", "staleness", "idle_seconds"} & record.to_dict().keys()
