from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.schema import ArraySpec, Schema
from strategies.aggregation.mean import WeightedMean, weighted_mean
from strategies.aggregation.server_optimizer import Moments, server_step

VECTORS = st.lists(st.floats(-1e3, 1e3, width=32), min_size=3, max_size=3).map(np.float32)
PAIRS = st.lists(st.tuples(VECTORS, st.integers(0, 1000)), min_size=1, max_size=8)


def test_the_mean_is_weighted_by_examples() -> None:
    mean = weighted_mean([(np.float32([1, 2]), 1), (np.float32([5, 10]), 3)])
    assert mean is not None
    assert mean.tolist() == [4.0, 8.0]


def test_without_weight_there_is_no_mean() -> None:
    assert weighted_mean([(np.float32([1]), 0)]) is None
    assert weighted_mean([]) is None


def test_two_threads_add_a_long_vector_to_the_same_bits() -> None:
    vectors = np.random.default_rng(0).normal(size=(2, (1 << 20) + 7)).astype(np.float32)
    mean, plain = WeightedMean(vectors.shape[1]), np.zeros(vectors.shape[1])
    for vector, weight in zip(vectors, (0.3, 7.0), strict=True):
        mean.add(vector, weight)
        plain += vector.astype(np.float64) * weight
    assert mean.total.tobytes() == plain.tobytes()
    schema = Schema((ArraySpec("w", (vectors.shape[1],)),))
    model = mean.model(schema)
    assert model is not None
    assert model.vector.tobytes() == (plain / 7.3).astype(np.float32).tobytes()
    assert WeightedMean(schema.size).model(schema) is None


@given(PAIRS, st.integers(0, 8))
def test_streams_merge_to_the_same_mean(pairs: list[tuple[np.ndarray, int]], cut: int) -> None:
    whole, first, second = WeightedMean(3), WeightedMean(3), WeightedMean(3)
    for i, (vector, weight) in enumerate(pairs):
        whole.add(vector, weight)
        (first if i < cut else second).add(vector, weight)
    first.merge(second)
    a, b = whole.result(), first.result()
    if a is None or b is None:
        assert a is b
    else:
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-9)


def step(name: str, rounds: int = 1) -> list[float]:
    model, moments = np.float64([1.0]), Moments.start(1, 0.1)
    for _ in range(rounds):
        model, moments = server_step(
            model,
            model + 0.5,
            moments,
            name,  # type: ignore[arg-type]
            learning_rate=0.1,
            beta_1=0.9,
            beta_2=0.99,
            tau=0.1,
        )
    return [float(model[0]), float(moments.first[0]), float(moments.second[0])]


# Worked out by hand from Algorithm 2 with Delta = 0.5, eta = 0.1, tau = 0.1, v_0 = tau^2 = 0.01.
@pytest.mark.parametrize(
    ("name", "model", "first", "second"),
    [
        ("sgd", 1.0 + 0.1 * 0.5, 0.5, 0.01),
        ("adagrad", 1.0 + 0.1 * 0.05 / (np.sqrt(0.26) + 0.1), 0.05, 0.26),
        ("adam", 1.0 + 0.1 * 0.05 / (np.sqrt(0.0124) + 0.1), 0.05, 0.0124),
        ("yogi", 1.0 + 0.1 * 0.05 / (np.sqrt(0.0125) + 0.1), 0.05, 0.0125),
    ],
)
def test_one_step_by_hand(name: str, model: float, first: float, second: float) -> None:
    assert step(name) == pytest.approx([model, first, second], abs=1e-15)


def test_second_steps_by_hand() -> None:
    assert step("sgd", 2)[:2] == pytest.approx([1.05 + 0.1 * 0.95, 0.95])
    assert step("adagrad", 2)[1:] == pytest.approx([0.095, 0.51])
    assert step("adam", 2)[1:] == pytest.approx([0.095, 0.99 * 0.0124 + 0.0025])
    assert step("yogi", 2)[1:] == pytest.approx([0.095, 0.015])


def test_sgd_with_rate_one_and_no_momentum_is_the_aggregate() -> None:
    start, to = np.float32([1, 2, 3]), np.float32([0.5, 9, -3])
    model, _ = server_step(
        start, to, Moments.start(3, 1e-3), "sgd", learning_rate=1, beta_1=0, beta_2=0, tau=1e-3
    )
    np.testing.assert_array_equal(model.astype(np.float32), to)
