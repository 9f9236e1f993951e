"""The base of client halves that train something shared beside the client's own model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeVar

from pydantic import PrivateAttr

from clients.objectives import Objective
from models.errors import ClientError

if TYPE_CHECKING:
    import torch

    from models.adapted import AdaptedModel
    from models.beside.extended import Beside

Batch = Mapping[str, "torch.Tensor"]
Module = TypeVar("Module", bound="Beside")


class OwnLoss(Objective):
    """The loss that a method brings, beside the pull of the run's objective."""

    _inner: Objective = PrivateAttr(default_factory=Objective)

    def around(self, inner: Objective) -> OwnLoss:
        """Return this loss in place of another objective's.

        Raises
        ------
        ClientError
            ``objective``: that one has a loss of its own, which would be lost.
        """
        if type(inner).loss is not Objective.loss:
            raise ClientError(
                "objective", f"{type(self).__name__} brings its own loss; leave `objective` empty"
            )
        self._inner = inner
        return self

    def adjust_gradient(self, model: AdaptedModel, start: torch.Tensor) -> None:
        """Leave it to the run's objective."""
        self._inner.adjust_gradient(model, start)


def module_of(model: AdaptedModel, kind: type[Module]) -> Module:
    """Return what is beside the client's model."""
    found = model.module
    if not isinstance(found, kind):
        raise ClientError("model", f"the model has no {kind.__name__}")
    return found
