"""The base of local objectives, and plain cross-entropy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import BaseModel, ConfigDict, PrivateAttr

if TYPE_CHECKING:
    import torch

    from models.adapted import AdaptedModel


def cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the mean cross-entropy of a batch, over its examples or over its tokens.

    Parameters
    ----------
    logits : tensor, shape (batch, classes) or (batch, length, tokens)
    targets : tensor, shape (batch,) or (batch, length)
        Numbers of classes or tokens; -100 does not count.
    """
    import torch

    if targets.ndim == 2:
        logits, targets = logits.flatten(0, 1).float(), targets.flatten()
    return torch.nn.functional.cross_entropy(logits, targets)


def cross_entropies(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the cross-entropy of each example, shape (batch,); of a text its tokens' mean."""
    import torch

    if targets.ndim == 1:
        return torch.nn.functional.cross_entropy(logits, targets, reduction="none")
    of_tokens = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1).float(), targets.flatten(), reduction="none"
    ).view(targets.shape)
    return of_tokens.sum(-1) / (targets >= 0).sum(-1)


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
    needs_labels: ClassVar[bool] = False

    def loss(
        self, model: AdaptedModel, batch: Mapping[str, torch.Tensor], targets: torch.Tensor
    ) -> torch.Tensor:
        """Return the mean loss of a batch.

        Parameters
        ----------
        model : AdaptedModel
        batch : mapping
            The model's inputs, each of shape (batch, ...).
        targets : tensor, shape (batch,) or (batch, length)
            Class numbers, or the next token at each place.
        """
        return cross_entropy(model.module(**batch).logits, targets)

    def losses(
        self, model: AdaptedModel, batch: Mapping[str, torch.Tensor], targets: torch.Tensor
    ) -> torch.Tensor:
        """Return the loss of each example, shape (batch,), where examples have weights."""
        return cross_entropies(model.module(**batch).logits, targets)

    def adjust_gradient(self, model: AdaptedModel, start: torch.Tensor) -> None:
        """Add to ``model.flat.grad`` after the backward pass; `start` is what the server sent."""


class CrossEntropy(Objective):
    """Cross-entropy of the labels, or of each next token."""

    about: ClassVar[str] = "cross-entropy of the labels, or of each next token"


class AroundObjective(Objective):
    """An objective around another one, whose loss and pull stay; a method adds its own to them."""

    _inner: Objective = PrivateAttr(default_factory=CrossEntropy)

    def around(self, inner: Objective) -> Self:
        """Go around another objective, such as the run's."""
        self._inner = inner
        return self

    @property
    def plain(self) -> bool:
        """Whether the other objective's loss is the cross-entropy of the labels."""
        return type(self._inner).loss is Objective.loss

    def loss(
        self, model: AdaptedModel, batch: Mapping[str, torch.Tensor], targets: torch.Tensor
    ) -> torch.Tensor:
        """Return the other objective's loss."""
        return self._inner.loss(model, batch, targets)

    def adjust_gradient(self, model: AdaptedModel, start: torch.Tensor) -> None:
        """Leave it to the other objective."""
        self._inner.adjust_gradient(model, start)
