"""pFedLoRA's client half: the client's model, then the shared adapter beside it, in two stages.

    1. omega frozen:  phi <- minimise  mu l(omega(x), y) + (1 - mu) l(phi(x), y)
    2. phi frozen:    omega <- minimise  the same

In the second stage only the first term has a gradient: that of omega's own loss, times mu. See
`strategies.lora.pfedlora` for the paper and the letters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from clients.trainers.base import ClientRound
from clients.trainers.hetero.beside import Batch, OwnLoss, module_of
from clients.trainers.partial import Partial
from models.schema import NamedArrays

if TYPE_CHECKING:
    import torch

    from clients.training import Trained
    from models.adapted import AdaptedModel
    from models.beside.extended import Extension


class TwoPaths(OwnLoss):
    """mu l(omega(x), y) + (1 - mu) l(phi(x), y)."""

    about: ClassVar[str] = "mu times the loss of the shared adapter, 1 - mu times the own head's"
    mu: float

    def loss(self, model: AdaptedModel, batch: Batch, targets: torch.Tensor) -> torch.Tensor:
        """Return the weighted sum of both paths' cross-entropy."""
        import torch

        from models.beside.low_rank import LowRankBeside

        cross_entropy = torch.nn.functional.cross_entropy
        omega, phi = module_of(model, LowRankBeside).both(batch)
        return self.mu * cross_entropy(omega, targets) + (1 - self.mu) * cross_entropy(phi, targets)


class PFedLoRATrainer(Partial):
    """Trains the client's model with omega frozen, then omega with the model frozen."""

    about: ClassVar[str] = "trains its own model, then the shared adapter, the other frozen"
    mu: Annotated[float, Field(gt=0, le=1, description="share of omega in loss and prediction")]
    rank: Annotated[int, Field(ge=1, description="rank of omega")]
    features: Annotated[int, Field(ge=1, description="width of omega's input")]

    def extension(self) -> Extension:
        """Return omega, beside the head."""
        from models.beside.low_rank import LowRankHead

        return LowRankHead(self.features, self.rank, self.mu)

    def fit(self, work: ClientRound, start: NamedArrays) -> Trained:
        """Run the two stages."""
        loss = TwoPaths(mu=self.mu).around(work.objective)
        schema, shared = start.schema, work.start.schema
        phi = schema.only([key for key in schema.slices if key not in shared.slices])
        omega = schema.only(list(shared.slices))
        first = work.fit(start.vector, objective=loss, trainable=phi)
        return work.fit(first.vector, objective=loss, trainable=omega, purpose="train-shared")
