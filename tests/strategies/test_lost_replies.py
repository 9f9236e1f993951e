"""F12, F13: the mean of what came, whoever is missing, and nothing of it twice."""

from __future__ import annotations

import json
import logging
import re

import numpy as np
import pytest
from actor_pool import simulated
from flwr.app import Message, RecordDict
from hostile_clients import EXAMPLES, packed, run, start, trained

from fedbouquet.testing import LocalGrid
from models.errors import ParticipationError
from models.randomness import derive_generator
from models.records import to_flat
from strategies.fedavg import FedAvg
from strategies.rounds.loop import RoundLoop
from strategies.rounds.options import LoopOptions
from strategies.rounds.record import RoundRecord
from strategies.transport.client_grid import ClientGrid
from strategies.transport.polling import Poller

_CLIENTS, _QUORUM, _DRAWS, _REPLAYS = 10, 4, 200, 1000


def one_round(grid: ClientGrid) -> tuple[RoundRecord, np.ndarray]:
    strategy = FedAvg()
    options = LoopOptions(1, quorum=_QUORUM, evaluate_every=0)
    loop = RoundLoop(strategy, grid, options)
    loop.start(start())
    loop.resume(1, loop.ledger)
    (record,) = loop.rounds()
    return record, strategy.arrays.vector


def test_f12_the_mean_of_the_received_or_too_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Poller, "rest", lambda self, deadline: None)
    monkeypatch.setattr(ClientGrid, "refresh", lambda self: None)
    absent: set[str] = set()
    grid, _ = simulated(_CLIENTS, 2, 2, lambda number: number % 3, absent=absent)
    names = list(grid.roster.ids)
    moved = np.stack([trained(i, start()).vector.astype(np.float64) for i in range(_CLIENTS)])
    weights = np.array([EXAMPLES + i for i in range(_CLIENTS)], np.float64)
    failed = 0
    for draw in range(_DRAWS):
        generator = derive_generator(12, "loss", draw)
        lost = generator.random(_CLIENTS) < generator.uniform(0, 0.7)
        absent.clear()
        absent.update(name for name, gone in zip(names, lost, strict=True) if gone)
        came = int((~lost).sum())
        if came < _QUORUM:
            failed += 1
            with pytest.raises(
                ParticipationError,
                match=re.escape(f"round 1: {came} of {_CLIENTS} clients answered, quorum is 4"),
            ):
                one_round(grid)
            continue
        record, vector = one_round(grid)
        expected = (weights[~lost] @ moved[~lost]) / weights[~lost].sum()
        assert np.abs(vector - expected).max() <= 1e-7
        assert (record.clients_asked, record.clients_answered) == (_CLIENTS, came)
        assert [r.client for r in record.rejected] == [n for n in names if n in absent]
        assert {r.code for r in record.rejected} <= {"gone"}
    assert 10 < failed < 100


@pytest.mark.parametrize("ticks", [(0, 1, 2), (7, 0, 3), (1, 9, 9, 0)])
def test_the_record_does_not_know_who_came_first(
    monkeypatch: pytest.MonkeyPatch, ticks: tuple[int, ...]
) -> None:
    monkeypatch.setattr(Poller, "rest", lambda self, deadline: None)

    def outcome(pace: tuple[int, ...]) -> tuple[dict[str, object], tuple[str, ...], bytes]:
        absent = {"c-1", "c-8", "c-20"}
        grid, _ = simulated(24, 3, 4, lambda number: pace[number % len(pace)], absent=absent)
        record, vector = one_round(grid)
        return {**record.to_dict(), "seconds": 0.0}, record.answered, vector.tobytes()

    assert outcome(ticks) == outcome((0,))


def test_f13_a_thousand_replays_count_for_nothing() -> None:
    """Messages of this round and of earlier ones come again, as they were and as copies."""
    grid = packed()
    below = grid._below
    assert isinstance(below, LocalGrid)
    generator = derive_generator(13, "replays")
    real, seen = below.pull_messages, list[Message]()
    replays = 0

    def replay(message_ids: object) -> list[Message]:
        nonlocal replays
        came = list(real(message_ids))  # type: ignore[arg-type]
        seen.extend(came)
        again = [seen[i] for i in generator.integers(0, len(seen), 50)] if seen else []
        replays += len(again)
        mixed = [*came, *again]
        # What came for the first time stays before its copies, as time demands.
        return [*came, *(mixed[i] for i in generator.permutation(len(mixed)))]

    below.pull_messages = replay  # type: ignore[method-assign]
    rounds = 20
    outcome = run(grid, rounds=rounds)
    assert replays >= _REPLAYS
    assert [r.clients_answered for r in outcome.records] == [0] + [4] * rounds
    assert all(r.rejected == () for r in outcome.records)
    np.testing.assert_array_equal(outcome.arrays.vector, run(packed(), rounds=rounds).arrays.vector)


@pytest.mark.parametrize("times", [2, 5])
def test_f13_a_doubled_answer_is_logged_once(
    times: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("flwr"), "propagate", True)

    def doubled(content: RecordDict) -> RecordDict:
        config = content.config_records["config"]
        rows = json.loads(str(config["results"]))
        config["results"] = json.dumps(rows * times)
        (name,) = content.array_records
        row = content.array_records[name]["flat"].numpy()[0]
        content[name] = to_flat([row] * times)
        return content

    with caplog.at_level(logging.WARNING, logger="flwr"):
        outcome = run(packed(doubled))
    assert outcome.record.clients_answered == 4
    np.testing.assert_array_equal(outcome.arrays.vector, run(packed()).arrays.vector)
    (line,) = [r.getMessage() for r in caplog.records if "not twice" in r.getMessage()]
    assert line.startswith(f"round 1: {times - 1} answers of clients")
