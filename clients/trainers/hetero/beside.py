"""The base of client halves that train something shared beside the client's own model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Self, TypeVar

from clients.objectives import AroundObjective, Objective
from models.errors import ClientError

if TYPE_CHECKING:
    import torch

    from models.adapted import AdaptedModel
    from models.beside.extended import Beside

Batch = Mapping[str, "torch.Tensor"]
Module = TypeVar("Module", bound="Beside")


class OwnLoss(AroundObjective):
    """The loss that a method brings, beside the pull of the run's objective."""

    def around(self, inner: Objective) -> Self:
        """Return this loss in place of another objective's.

        Raises
        ------
        ClientError
            ``objective``: that one has a loss of its own, which would be lost.
        """
        super().around(inner)
        if not self.plain:
            raise ClientError(
                "objective", f"{type(self).__name__} brings its own loss; leave `objective` empty"
            )
        return self


def module_of(model: AdaptedModel, kind: type[Module]) -> Module:
    """Return what is beside the client's model."""
    found = model.module
    if not isinstance(found, kind):
        raise ClientError("model", f"the model has no {kind.__name__}")
    return found
