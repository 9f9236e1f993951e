"""Means of each class, taken of what a model makes of the examples as they are met in training."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch
from pydantic import PrivateAttr
from torch.nn.functional import cross_entropy, one_hot

from clients.objectives.base import AroundObjective, Objective
from models.features import features, head

if TYPE_CHECKING:
    from clients.training import Prepared
    from models.adapted import AdaptedModel

Collect = Literal["all-epochs", "last-epoch", "after"]
_BATCH = 256


class ClassSums:
    """Sums over the examples of each class.

    Parameters
    ----------
    shape : tuple of int
        (C, D).
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        self._sums = np.zeros(shape)
        self._squares = np.zeros(shape[0])
        self.examples = np.zeros(shape[0])

    def add(self, values: torch.Tensor, targets: torch.Tensor) -> None:
        """Add a batch, shapes (B, D) and (B,)."""
        # One product in double precision: the same bits on any device.
        rows = values.detach().double()
        member = one_hot(targets, len(self._sums)).double()
        self._sums += (member.T @ rows).cpu().numpy()
        self._squares += (member.T @ rows.square().sum(1)).cpu().numpy()
        self.examples += member.sum(0).cpu().numpy()

    def means(self) -> npt.NDArray[np.float64]:
        """Return the means, shape (C, D); zeros where no example was met."""
        means: npt.NDArray[np.float64] = self._sums / np.maximum(self.examples, 1)[:, None]
        return means

    def spread(self) -> float:
        """Return the root mean square distance of an example from the mean of its class."""
        means = self.means()
        within = self._squares.sum() - (self.examples * (means**2).sum(1)).sum()
        return math.sqrt(max(0.0, float(within)) / max(1.0, float(self.examples.sum())))


class Collecting(AroundObjective):
    """An objective beside others, and the class means of features or of logits.

    Attributes
    ----------
    of_logits : bool
        Means of g(f(x)) instead of f(x).
    """

    of_logits: ClassVar[bool] = False
    _collect: Collect = PrivateAttr(default="all-epochs")
    _per_epoch: int = PrivateAttr(default=1)
    _batches: int = PrivateAttr(default=0)
    _sums: ClassSums = PrivateAttr()

    def beside(
        self, inner: Objective, shape: tuple[int, int], collect: Collect, per_epoch: int
    ) -> Any:
        """Say beside which objective, over rows of which shape, and losses an epoch."""
        self._collect, self._per_epoch = collect, per_epoch
        self._sums = ClassSums(shape)
        return self.around(inner)

    @property
    def sums(self) -> ClassSums:
        """What was collected; with ``last-epoch`` since the last epoch began."""
        return self._sums

    def loss(
        self, model: AdaptedModel, batch: Mapping[str, torch.Tensor], targets: torch.Tensor
    ) -> torch.Tensor:
        """Return the other objective's loss and the method's own term."""
        f = features(model, batch)
        logits = head(model, f)
        self._meet(logits if self.of_logits else f, targets)
        task = cross_entropy(logits, targets) if self.plain else super().loss(model, batch, targets)
        return task + self.term(model, f, logits, targets)

    def term(
        self, model: AdaptedModel, f: torch.Tensor, logits: torch.Tensor, targets: torch.Tensor
    ) -> torch.Tensor:
        """Return what the method adds; nothing by default."""
        return f.new_zeros(())

    def _meet(self, values: torch.Tensor, targets: torch.Tensor) -> None:
        if self._collect == "after":
            return
        if self._collect == "last-epoch" and self._batches % self._per_epoch == 0:
            self._sums = ClassSums(self._sums.means().shape)
        self._batches += 1
        self._sums.add(values, targets)


@torch.no_grad()
def collected(
    model: AdaptedModel, data: Prepared, shape: tuple[int, int], *, of_logits: bool = False
) -> ClassSums:
    """Return the class sums of a model as it is now, in evaluation mode."""
    model.module.eval()
    sums = ClassSums(shape)
    for start in range(0, len(data), _BATCH):
        rows = np.arange(start, min(start + _BATCH, len(data)))
        f = features(model, data.inputs.batch(rows, model.device))
        targets = torch.from_numpy(data.targets[rows]).to(model.device)
        sums.add(head(model, f) if of_logits else f, targets)
    return sums
