"""The fairness term: by hand, and its gradient by finite differences."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from clients.objectives.fairness import Fairness, disparity
from models.fairness.counts import GROUPS


def case() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(9, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    targets = torch.randint(0, 3, (9,), generator=generator)
    return logits, targets, torch.tensor([0, 0, 1, 1, 1, 4, 4, -1, -1])


def test_by_hand() -> None:
    logits, targets, groups = case()
    right = torch.softmax(logits, -1)[torch.arange(9), targets]
    e = [1 - right[:2].mean(), 1 - right[2:5].mean(), 1 - right[5:7].mean()]
    middle = sum(e) / 3
    expected = sum(abs(part - middle) for part in e) / 3
    torch.testing.assert_close(disparity(logits, targets, groups), expected)


def test_the_gradient_is_that_of_finite_differences() -> None:
    logits, targets, groups = case()
    assert torch.autograd.gradcheck(lambda z: disparity(z, targets, groups), (logits,))
    disparity(logits, targets, groups).backward()
    assert logits.grad is not None
    assert logits.grad[:7].abs().sum() > 0
    assert logits.grad[7:].abs().sum() == 0  # of unknown group


def test_the_loss_and_those_of_weighted_examples_have_the_term() -> None:
    logits, targets, groups = case()
    model: Any = SimpleNamespace(module=lambda **_: SimpleNamespace(logits=logits))
    plain = torch.nn.functional.cross_entropy(logits, targets)
    term = disparity(logits, targets, groups)
    assert float(term.detach()) > 0.01
    for weight, expected in ((2.0, plain + 2.0 * term), (0.0, plain)):
        objective = Fairness(lambda_fairness=weight)
        found = objective.loss(model, {GROUPS: groups}, targets)
        torch.testing.assert_close(found, expected)
        torch.testing.assert_close(objective.losses(model, {GROUPS: groups}, targets).mean(), found)
        torch.testing.assert_close(objective.loss(model, {}, targets), plain)


@pytest.mark.parametrize("groups", [[0] * 9, [-1] * 9, [3] * 8 + [-1]])
def test_fewer_than_two_groups_have_no_disparity(groups: list[int]) -> None:
    logits, targets, _ = case()
    found = disparity(logits, targets, torch.tensor(groups))
    found.backward()
    assert float(found.detach()) == 0.0
    assert logits.grad is not None
    assert float(logits.grad.abs().sum()) == 0.0
