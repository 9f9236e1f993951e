"""The base of local objectives, and plain cross-entropy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import BaseModel, ConfigDict, PrivateAttr

if TYPE_CHECKING:
    import torch

    from models.adapted import AdaptedModel


class Objective(BaseModel):
    """What a client minimises. The fields are its options.

    A method overrides `loss` for a term that needs the batch, or `adjust_gradient` for one that
    depends on the trained numbers alone.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=lambda name: name.replace("_", "-"),
        populate_by_name=True,
    )
    about: ClassVar[str] = ""

    def loss(
        self, model: AdaptedModel, batch: Mapping[str, torch.Tensor], targets: torch.Tensor
    ) -> torch.Tensor:
        """Return the mean loss of a batch.

        Parameters
        ----------
        model : AdaptedModel
        batch : mapping
            The model's inputs, each of shape (batch, ...).
        targets : tensor, shape (batch,)
            Class numbers.
        """
        import torch

        logits = model.module(**batch).logits
        return torch.nn.functional.cross_entropy(logits, targets)

    def losses(
        self, model: AdaptedModel, batch: Mapping[str, torch.Tensor], targets: torch.Tensor
    ) -> torch.Tensor:
        """Return the loss of each example, shape (batch,), where examples have weights."""
        import torch

        logits = model.module(**batch).logits
        return torch.nn.functional.cross_entropy(logits, targets, reduction="none")

    def adjust_gradient(self, model: AdaptedModel, start: torch.Tensor) -> None:
        """Add to ``model.flat.grad`` after the backward pass; `start` is what the server sent."""


class CrossEntropy(Objective):
    """Cross-entropy of the labels."""

    about: ClassVar[str] = "cross-entropy of the labels"


class AroundObjective(Objective):
    """An objective around another one, whose loss and pull stay; a method adds its own to them."""

    _inner: Objective = PrivateAttr(default_factory=CrossEntropy)

    def around(self, inner: Objective) -> Self:
        """Go around another objective, such as the run's."""
        self._inner = inner
        return self

    def loss(
        self, model: AdaptedModel, batch: Mapping[str, torch.Tensor], targets: torch.Tensor
    ) -> torch.Tensor:
        """Return the other objective's loss."""
        return self._inner.loss(model, batch, targets)

    def adjust_gradient(self, model: AdaptedModel, start: torch.Tensor) -> None:
        """Leave it to the other objective."""
        self._inner.adjust_gradient(model, start)
