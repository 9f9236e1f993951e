"""FedProx: Li et al., "Federated Optimization in Heterogeneous Networks", MLSys 2020,
https://arxiv.org/abs/1812.06127

The client minimises F_k(w) + (mu / 2) ||w - w^t||^2, with w^t the adapter the server sent; the
added gradient is mu (w - w^t).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from clients.objectives.base import Objective

if TYPE_CHECKING:
    import torch

    from models.adapted import AdaptedModel


class FedProx(Objective):
    """Cross-entropy and a pull towards what the server sent."""

    about: ClassVar[str] = "cross-entropy plus mu/2 times the squared distance from the start"
    mu: Annotated[float, Field(ge=0, description="strength of the pull")] = 0.01

    def adjust_gradient(self, model: AdaptedModel, start: torch.Tensor) -> None:
        """Add mu (w - w^t)."""
        if model.flat.grad is not None:
            model.flat.grad.add_(model.flat.detach() - start, alpha=self.mu)
