"""The running sum over remembered updates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strategies.aggregation.remembered import RunningSum
from strategies.memory.store import UpdateMemory


@dataclass(frozen=True)
class Kept:
    vector: np.ndarray
    examples: float


def test_joining_replacing_and_leaving() -> None:
    total = RunningSum(2)
    assert total.mean() is None
    total.replace(None, np.array([1.0, 2.0], np.float32), 10)
    total.replace(None, np.array([4.0, 0.0], np.float32), 5)
    np.testing.assert_array_equal(total.vector, [30, 20])
    total.replace(Kept(np.array([1.0, 2.0], np.float32), 10), np.array([0.0, 1.0]), 20)
    np.testing.assert_array_equal(total.vector, [20, 20])
    assert total.examples == 25
    mean = total.mean()
    assert mean is not None
    np.testing.assert_array_equal(mean, [0.8, 0.8])
    total.leave(None)
    total.leave(Kept(np.array([0.0, 1.0], np.float32), 20))
    np.testing.assert_array_equal(total.vector, [20, 0])
    assert total.examples == 5


def test_it_goes_on_from_a_copy() -> None:
    vector = np.array([1.0, 2.0])
    total = RunningSum.of(vector, 3)
    total.replace(None, np.ones(2), 1)
    np.testing.assert_array_equal(vector, [1, 2])
    np.testing.assert_array_equal(total.vector, [2, 3])
    assert total.examples == 4


@settings(max_examples=2, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["float32", "float16"]))
def test_it_equals_a_recomputation_after_a_thousand_rounds(seed: int, dtype: str) -> None:
    """Random participation, two streams a round, clients that join, leave and come back."""
    rng = np.random.default_rng(seed)
    clients, size = 20, 8
    rates = rng.beta(0.5, 2, clients)
    memory = UpdateMemory(None, size, dtype)  # type: ignore[arg-type]
    total = RunningSum(size)
    for t in range(1, 1001):
        if rng.random() < 0.05:
            total.leave(memory.forget(f"c-{rng.integers(clients)}", t))
        there = np.flatnonzero(rng.random(clients) < rates)
        streams = [RunningSum(size), RunningSum(size)]
        for i in there:
            examples = float(rng.integers(1, 500))
            old = memory.read(f"c-{i}", t)
            stored = memory.stage(f"c-{i}", t, rng.normal(size=size), examples)
            streams[i % 2].replace(old, stored, examples)
        memory.settle(t, [f"c-{i}" for i in there])
        for stream in streams:
            total.merge(stream)
        if t % 20 == 0:
            memory.save(t)
            memory.prune(t - 20)
    kept = [memory.read(client, 1001) for client, _, _ in memory.clients(1001)]
    scratch = sum(k.examples * k.vector.astype(np.float64) for k in kept if k)
    np.testing.assert_allclose(total.vector, scratch, rtol=1e-5, atol=1e-5)
    assert total.examples == pytest.approx(sum(k.examples for k in kept if k))
