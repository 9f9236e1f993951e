"""The clients' losses on prototypes: numbers by hand, gradients by finite differences."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from clients.objectives.prototypes.collecting import ClassSums
from clients.objectives.prototypes.losses import (
    distances,
    distillation,
    margin_contrastive,
    nearest,
    pull,
)
from clients.trainers.prototypes.nearest import margin

F = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
S = torch.tensor([[1.0, 1.0], [0.0, 0.0], [3.0, 0.0]], dtype=torch.float64)
ALL = torch.ones(3, dtype=torch.bool)


def test_the_margin_is_added_to_the_distance_of_the_true_class() -> None:
    np.testing.assert_allclose(distances(F, S), [[1, 1, 2]])
    found = margin_contrastive(F, S, 0.5, torch.tensor([0]))
    assert float(found) == pytest.approx(1.180270, abs=1e-6)
    # Taken off instead, the loss would be 0.61.
    expected = 1.5 + math.log(math.exp(-1.5) + math.exp(-1) + math.exp(-2))
    assert float(found) == pytest.approx(expected, rel=1e-12)


def test_the_pull_is_a_mean_over_all_numbers_and_nothing_pulls_without_a_prototype() -> None:
    f = torch.tensor([[1.0, 0.0], [5.0, 5.0]])
    rows = torch.tensor([[0.0, 2.0], [9.0, 9.0]])
    known = torch.tensor([True, False])
    # (1 + 4) over the 4 numbers of both examples: the second class has no prototype.
    assert float(pull(f, rows, known, torch.tensor([0, 1]))) == pytest.approx(5 / 4)
    assert float(pull(f, rows, ~known, torch.tensor([0, 0]))) == 0


def test_distillation_by_hand() -> None:
    logits = torch.tensor([[0.0, math.log(3.0)]])
    rows = torch.tensor([[math.log(4.0), 0.0], [0.0, 0.0]])
    known = torch.tensor([True, False])
    # Targets (4/5, 1/5), outputs (1/4, 3/4).
    found = distillation(logits, rows, known, torch.tensor([0]))
    assert float(found) == pytest.approx(-(0.8 * math.log(0.25) + 0.2 * math.log(0.75)))
    # A class that is not known: the entropy of the client's own output, and no gradient.
    logits.requires_grad_()
    alone = distillation(logits, rows, known, torch.tensor([1]))
    alone.backward()
    assert float(alone.detach()) == pytest.approx(-(0.25 * math.log(0.25) + 0.75 * math.log(0.75)))
    np.testing.assert_allclose(logits.grad, [[0, 0]], atol=1e-7)


@pytest.mark.parametrize(
    "loss",
    [
        lambda f, y: pull(f, S, ALL, y),
        lambda f, y: margin_contrastive(f, S, 0.7, y),
        lambda f, y: distillation(f @ S.T, torch.eye(3, dtype=torch.float64), ALL, y),
    ],
    ids=["pull", "contrastive", "distillation"],
)
def test_gradients_are_those_of_finite_differences(
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
) -> None:
    numbers = torch.from_numpy(np.random.default_rng(0).normal(size=(4, 2)))
    y = torch.tensor([0, 2, 1, 0])
    f = numbers.clone().requires_grad_()
    loss(f, y).backward()
    assert f.grad is not None
    for place in np.ndindex(4, 2):
        step = torch.zeros_like(numbers)
        step[place] = 1e-6
        slope = float(loss(numbers + step, y) - loss(numbers - step, y)) / 2e-6
        assert slope == pytest.approx(float(f.grad[place]), abs=1e-8)
        assert slope != 0


def test_a_feature_right_at_an_anchor_has_a_finite_gradient() -> None:
    f = torch.tensor([[3.0, 0.0], [1.0, 1.0]], requires_grad=True)
    margin_contrastive(f, S.float(), 0.5, torch.tensor([2, 0])).backward()
    assert f.grad is not None
    assert torch.isfinite(f.grad).all()


def test_the_nearest_class_that_is_known() -> None:
    f = torch.tensor([[2.9, 0.0], [0.1, 0.0]])
    known = torch.tensor([True, True, False])
    np.testing.assert_array_equal(nearest(f, S.float(), ALL), [2, 1])
    np.testing.assert_array_equal(nearest(f, S.float(), known), [0, 1])


def kept(rows: list[list[float]], present: list[int]) -> dict[str, np.ndarray]:
    return {"@prototypes": np.float32(rows), "@present": np.float32(present)}


def test_the_margin_is_the_larger_of_the_clients_own_and_the_anchors() -> None:
    anchors = np.array([[0.0, 0], [1, 0], [0, 3]])
    everybody = (1 + 1 + 3) / 3
    assert margin({}, anchors) == pytest.approx(everybody)
    far = kept([[0, 0], [8, 0], [5, 5]], [1, 1, 0])
    assert margin(far, anchors) == pytest.approx(8)
    near = kept([[0, 0], [0.5, 0], [5, 5]], [1, 1, 0])
    assert margin(near, anchors) == pytest.approx(everybody)
    # One class only has no margin of its own.
    assert margin(kept([[0, 0], [8, 0], [5, 5]], [0, 1, 0]), anchors) == pytest.approx(everybody)


def test_class_sums() -> None:
    sums = ClassSums((3, 2))
    sums.add(torch.tensor([[1.0, 0], [3, 0], [7, 7]]), torch.tensor([0, 0, 2]))
    sums.add(torch.tensor([[5.0, 6]]), torch.tensor([0]))
    np.testing.assert_allclose(sums.means(), [[3, 2], [0, 0], [7, 7]])
    np.testing.assert_array_equal(sums.examples, [3, 0, 1])
    # Class 0: squared distances 4 + 4, 0 + 4, 4 + 16 from (3, 2); four examples in all.
    assert sums.spread() == pytest.approx(math.sqrt(32 / 4))
