"""The fairness term of FairLoRA: Li et al., "FairFedMed: Benchmarking Group Fairness in Federated
Medical Imaging with FairLoRA", IEEE TMI 2025, https://arxiv.org/abs/2508.00873

Beside the cross-entropy a client minimises lambda times the disparity of the groups in a batch:

    e_g = 1 - mean over the samples of g of the probability of their true class
    disparity = mean over the groups of |e_g - mean_g e_g|

A batch of one group has none, and samples of unknown group do not count.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from clients.objectives.base import Objective, cross_entropies, cross_entropy
from models.fairness.counts import GROUPS

if TYPE_CHECKING:
    import torch

    from models.adapted import AdaptedModel


class Fairness(Objective):
    """Cross-entropy and a weight on how unlike the groups' errors are."""

    about: ClassVar[str] = "cross-entropy plus lambda times the disparity of the groups' errors"
    needs_labels: ClassVar[bool] = True
    lambda_fairness: Annotated[float, Field(ge=0, description="weight of the disparity")] = 0.0
    column: Annotated[str, Field(description="the group column; empty = the first")] = ""

    def loss(
        self, model: AdaptedModel, batch: Mapping[str, torch.Tensor], targets: torch.Tensor
    ) -> torch.Tensor:
        """Return cross-entropy + lambda disparity."""
        logits = model.module(**batch).logits
        return cross_entropy(logits, targets) + self._term(logits, targets, batch)

    def losses(
        self, model: AdaptedModel, batch: Mapping[str, torch.Tensor], targets: torch.Tensor
    ) -> torch.Tensor:
        """Return each example's cross-entropy + lambda disparity, which is the batch's."""
        logits = model.module(**batch).logits
        return cross_entropies(logits, targets) + self._term(logits, targets, batch)

    def _term(
        self, logits: torch.Tensor, targets: torch.Tensor, batch: Mapping[str, torch.Tensor]
    ) -> torch.Tensor | float:
        if not self.lambda_fairness or GROUPS not in batch:
            return 0.0
        return self.lambda_fairness * disparity(logits, targets, batch[GROUPS])


def disparity(logits: torch.Tensor, targets: torch.Tensor, groups: torch.Tensor) -> torch.Tensor:
    """Return the mean distance of the groups' errors from their mean, with its gradient.

    Parameters
    ----------
    logits : tensor, shape (batch, classes)
    targets, groups : tensor, shape (batch,)
        Class and group numbers; groups below 0 are unknown.
    """
    import torch

    right = torch.softmax(logits, dim=-1).gather(1, targets[:, None])[:, 0]
    present = torch.unique(groups[groups >= 0])
    if len(present) < 2:
        return right.sum() * 0.0
    e = torch.stack([1.0 - right[groups == g].mean() for g in present])
    return (e - e.mean()).abs().mean()
