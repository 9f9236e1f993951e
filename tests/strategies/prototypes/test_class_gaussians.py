"""Pooled class Gaussians, and what CCVR and GGEUR make of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.registry import registry
from clients.trainers.prototypes.gaussians import class_gaussians
from models.errors import ConfigurationError
from models.schema import NamedArrays
from strategies.aggregation.prototypes.gaussians import (
    PooledGaussians,
    directions,
    drawn,
    packed,
    unpacked,
)
from strategies.base import Strategy
from strategies.rounds.context import RoundContext, Update
from strategies.transport.roster import Client, Node, Roster

ADAPTER = NamedArrays.of(
    {
        "classifier.weight": np.zeros((3, 4), np.float32),
        "classifier.bias": np.zeros(3, np.float32),
        "layer.lora_A.weight": np.ones((2, 4), np.float32),
    },
    {"head": "classifier", "labels": 3},
)


@settings(max_examples=25)
@given(st.integers(0, 2**32), st.integers(1, 5))
def test_pooling_is_exact(seed: int, clients: int) -> None:
    numbers = np.random.default_rng(seed)
    pooled, rest = PooledGaussians(3, 4), PooledGaussians(3, 4)
    everything, labels = [], []
    for client in range(clients):
        y = numbers.integers(0, 3, size=int(numbers.integers(1, 12)))
        f = numbers.normal(size=(len(y), 4)) + 3 * y[:, None]
        sent = class_gaussians(f, y, 3, least=1)
        part = pooled if client % 2 else rest
        part.add(sent["counts"], sent["means"], unpacked(sent["covariances"], 4))
        everything.append(f)
        labels.append(y)
    pooled.merge(rest)
    f, y = np.concatenate(everything), np.concatenate(labels)
    for c in range(3):
        rows = f[y == c]
        assert pooled.counts[c] == len(rows)
        if len(rows):
            np.testing.assert_allclose(pooled.means()[c], rows.mean(axis=0), atol=1e-5)
        expected = np.cov(rows.T) if len(rows) > 1 else np.zeros((4, 4))
        np.testing.assert_allclose(pooled.covariances()[c], expected, atol=1e-4)


def test_a_class_of_one_example_has_no_covariance_and_no_nan() -> None:
    sent = class_gaussians(np.array([[1.0, 2.0]]), np.array([1]), 2, least=1)
    np.testing.assert_array_equal(sent["counts"], [0, 1])
    np.testing.assert_array_equal(sent["means"], [[0, 0], [1, 2]])
    assert not sent["covariances"].any()
    # Below the least number nothing of it leaves.
    assert not class_gaussians(np.ones((1, 2)), np.array([1]), 2, least=2)["counts"].any()


def test_triangles_and_directions() -> None:
    square = np.array([[[2.0, 1.0], [1.0, 2.0]]])
    np.testing.assert_array_equal(packed(square), [[2, 1, 2]])
    np.testing.assert_array_equal(unpacked(packed(square), 2), square)
    values, vectors = directions(square[0])
    # The largest first, and a vector a row.
    np.testing.assert_allclose(values, [3, 1])
    np.testing.assert_allclose(np.abs(vectors[0]), [0.5**0.5, 0.5**0.5])
    assert (directions(-np.eye(2))[0] == 0).all()


def test_virtual_features_have_the_moments_they_were_drawn_from() -> None:
    covariance = np.array([[2.0, 0.8], [0.8, 1.0]])
    means = np.array([[0.0, 0.0], [5.0, -1.0]])
    f, y = drawn(
        means,
        np.stack([covariance, covariance]),
        np.array([False, True]),
        20_000,
        np.random.default_rng(0),
    )
    np.testing.assert_array_equal(np.unique(y), [1])
    np.testing.assert_allclose(f.mean(axis=0), means[1], atol=0.05)
    np.testing.assert_allclose(np.cov(f.T), covariance, atol=0.06)


def context(server_round: int) -> RoundContext:
    roster = Roster()
    roster.join(Node(0, "c-0"), [Client(f"c-{i}", 0, 30) for i in range(2)])
    return RoundContext(server_round, 3, roster)


def statistics_round(strategy: Strategy, where: RoundContext) -> None:
    """Two clients whose classes lie apart, one class missing everywhere."""
    numbers = np.random.default_rng(1)
    part = strategy.begin(where)
    for client in range(2):
        told = strategy.instruct(f"c-{client}", where)
        assert told.config["trainer"] == "statistics"
        assert told.arrays.schema == ADAPTER.schema
        y = np.array([0, 1] * 15)
        f = numbers.normal(size=(30, 4)) * [0.1, 0.2, 0.3, 1.0]
        f[:, 0] += 4 * y
        sent = NamedArrays.of(class_gaussians(f, y, 3, least=2))
        assert told.reply is not None
        assert sent.schema.hash == told.reply.hash
        # Counts, means and half of each covariance: all that travels.
        assert sent.vector.nbytes == 4 * 3 * (1 + 4 + 10)
        part.add(Update(f"c-{client}", sent, 30))
    strategy.conclude(part, where)


def test_ccvr_calibrates_the_head_in_the_last_round_and_nothing_else() -> None:
    strategy = registry().compose(("ccvr", "fedavg"), {})
    strategy.initialise(ADAPTER)
    assert strategy.instruct("c-0", context(2)).config == {}
    statistics_round(strategy, context(3))
    head = strategy.arrays["classifier.weight"], strategy.arrays["classifier.bias"]
    np.testing.assert_array_equal(strategy.arrays["layer.lora_A.weight"], np.ones((2, 4)))
    for c in (0, 1):
        logits = head[0] @ np.array([4.0 * c, 0, 0, 0]) + head[1]
        assert logits.argmax() == c
    assert strategy.figures() == {"calibrated_classes": 2}


def test_ggeur_sends_the_largest_directions_amplified() -> None:
    options = {"ggeur": {"directions": 2, "amplify": 5.0}}
    strategy = registry().compose(("ggeur", "fedavg"), options)
    strategy.initialise(ADAPTER)
    statistics_round(strategy, context(1))
    told = strategy.instruct("c-0", context(2))
    rows = told.arrays["geometry"]
    assert rows.shape == (3, 2, 4)
    # The widest direction is the last axis, of deviation 1, times the root of 5; then 0.3.
    np.testing.assert_allclose(np.abs(rows[0, 0]), [0, 0, 0, 5**0.5], atol=0.4)
    np.testing.assert_allclose(np.abs(rows[1, 1]), [0, 0, 0.3, 0], atol=0.1)
    np.testing.assert_array_equal(rows[2], np.zeros((2, 4)))
    assert told.reply == ADAPTER.schema
    again = registry().compose(("ggeur", "fedavg"), options)
    again.initialise(ADAPTER)
    again.restore(strategy.state())
    np.testing.assert_array_equal(again.instruct("c-1", context(2)).arrays["geometry"], rows)


@pytest.mark.parametrize("method", ["ccvr", "ggeur"])
def test_both_need_a_global_model(method: str) -> None:
    with pytest.raises(ConfigurationError, match="gives none"):
        registry().compose((method, "fedsa"), {})
