"""Which learner explains which example, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients.trainers.clusters.mixture import label_masses, responsibilities


def test_responsibilities_by_hand() -> None:
    losses = np.log([[2.0, 4.0], [4.0, 4.0]])  # exp(-l) = 1/2, 1/4; 1/4, 1/4
    pi = np.array([0.25, 0.75])
    c = np.array([[0.5, 0.5], [0.25, 0.75]])
    gamma = responsibilities(losses, pi, c, np.array([0, 1]))
    # Example 0: 1/4 * 1/2 / (1/2) = 1/4 against 3/4 * 1/4 / (1/4) = 3/4.
    # Example 1: 1/4 * 1/4 / (1/2) = 1/8 against 3/4 * 1/4 / (3/4) = 1/4.
    np.testing.assert_allclose(gamma, [[1 / 4, 1 / 3], [3 / 4, 2 / 3]], rtol=1e-12)
    np.testing.assert_allclose(gamma.mean(axis=1), [7 / 24, 17 / 24])
    masses = label_masses(gamma, np.array([0, 1]), 3)
    np.testing.assert_allclose(masses, [[1 / 8, 1 / 6, 0], [3 / 8, 1 / 3, 0]])


def test_a_learner_without_a_share_gets_nothing() -> None:
    gamma = responsibilities(
        np.zeros((2, 3)), np.array([0.0, 1.0]), np.full((2, 2), 0.5), np.array([0, 1, 0])
    )
    np.testing.assert_array_equal(gamma, [[0, 0, 0], [1, 1, 1]])


def test_a_label_that_a_learner_never_had_counts_as_very_rare() -> None:
    c = np.array([[0.0, 1.0], [0.5, 0.5]])
    gamma = responsibilities(np.zeros((2, 1)), np.array([0.5, 0.5]), c, np.array([0]))
    assert gamma[0, 0] == pytest.approx(1 / (1 + 2e-8))


@given(st.integers(1, 5), st.integers(1, 6), st.integers(0, 2**32))
def test_shares_add_up(count: int, examples: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    targets = draw.integers(4, size=examples)
    losses, pi = 50 * draw.random((count, examples)), draw.dirichlet(np.ones(count))
    gamma = responsibilities(losses, pi, draw.dirichlet(np.ones(4), count), targets)
    np.testing.assert_allclose(gamma.sum(axis=0), 1)
    masses = label_masses(gamma, targets, 4)
    np.testing.assert_allclose(masses.sum(axis=1), gamma.mean(axis=1))
    np.testing.assert_allclose(masses.sum(axis=0), np.bincount(targets, minlength=4) / examples)
