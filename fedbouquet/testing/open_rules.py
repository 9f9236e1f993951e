"""The contract of server halves in rounds that close while clients are still training."""

from __future__ import annotations

import json
from pathlib import Path
from unittest import SkipTest

import numpy as np

from fedbouquet.testing.clocked import ClockedExchange
from fedbouquet.testing.federation import SCHEMA, Maker, models, round_context, update
from fedbouquet.testing.jumps import lent
from models.schema import Vector
from strategies.base import State, Strategy
from strategies.rounds.closing import make_closing
from strategies.rounds.loop import RoundLoop
from strategies.rounds.options import LoopOptions

_ROUNDS = 6


def stale_updates_are_taken_or_refused(make: Maker, folder: Path) -> None:
    """Under ``each`` and ``buffer`` every update counts, however old; or the method says why not.

    Clients are up to five times as fast as others, so that updates of several rounds meet.
    """
    for closing, size in (("each", 1), ("buffer", 2)):
        loop, strategy = _opened(make, folder / closing, closing)
        records = list(loop.rounds())[1:]
        assert [record.clients_answered for record in records] == [size] * _ROUNDS
        assert not any(record.rejected for record in records), records
        assert max(age for record in records for age in record.staleness) > 0
        assert np.isfinite(models(strategy)).all()


def open_rounds_resume_to_the_same_bits(make: Maker, folder: Path) -> None:
    """A run that is ended while clients train, and goes on later, ends as one that was not."""
    loop, strategy = _opened(make, folder / "whole", "buffer")
    list(loop.rounds())
    halfway, stopped = _opened(make, folder / "part", "buffer")
    for record in halfway.rounds():
        if record.round == _ROUNDS // 2:
            saved = stopped.state(), halfway.state()
            break
    later, resumed = _opened(make, folder / "part", "buffer")
    resumed.restore(_copied(saved[0]))
    later.resume(_ROUNDS // 2 + 1, halfway.ledger, _copied(saved[1]))
    list(later.rounds())
    np.testing.assert_array_equal(models(resumed), models(strategy))


def _opened(make: Maker, folder: Path, closing: str) -> tuple[RoundLoop, Strategy]:
    strategy = make()
    strategy.keep_in(folder)
    if strategy.stale_errors:
        raise SkipTest("; ".join(strategy.stale_errors))
    strategy.initialise(update(99).arrays)
    if not set(strategy.sample(round_context())) <= set(round_context().available):
        raise SkipTest("a method that asks a client that no node has")
    strategy = lent(make(), SCHEMA)
    strategy.keep_in(folder)
    rule = make_closing(closing, strategy, {"size": 2} if closing == "buffer" else {})
    options = LoopOptions(_ROUNDS, evaluate_every=0)
    loop = RoundLoop(strategy, ClockedExchange(), options, closing=rule)
    loop.start(update(99).arrays)
    return loop, strategy


def _copied(state: State) -> State:
    """Return a state as a checkpoint gives it back."""
    arrays: dict[str, Vector] = {k: np.array(v) for k, v in state.arrays.items()}
    return State(arrays, json.loads(json.dumps(dict(state.values))))
