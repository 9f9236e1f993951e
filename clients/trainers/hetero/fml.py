"""FML's client half: the local model and the meme learn from the labels and from each other.

Each loss moves one model only: the other's probabilities are a target. See `strategies.hetero.fml`
for the paper and the letters.
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


def divergence(target: torch.Tensor, of: torch.Tensor) -> torch.Tensor:
    """Return the batch's mean D_KL(target || of) of two logits; `target` gets no gradient."""
    import torch

    functional = torch.nn.functional
    return functional.kl_div(
        functional.log_softmax(of, -1),
        functional.log_softmax(target.detach(), -1),
        reduction="batchmean",
        log_target=True,
    )


class Mutual(OwnLoss):
    """L_local + L_meme."""

    about: ClassVar[str] = "two models learn from the labels and from each other"
    alpha: float
    beta: float

    def loss(self, model: AdaptedModel, batch: Batch, targets: torch.Tensor) -> torch.Tensor:
        """Return the sum of both losses; each has its own model's gradient only."""
        import torch

        from models.beside.common import PairBeside

        cross_entropy = torch.nn.functional.cross_entropy
        seen = module_of(model, PairBeside).views(batch)
        local, meme = seen.own, seen.common
        l_local = self.alpha * cross_entropy(local, targets)
        l_meme = self.beta * cross_entropy(meme, targets)
        return (
            l_local
            + (1 - self.alpha) * divergence(meme, local)
            + l_meme
            + (1 - self.beta) * divergence(local, meme)
        )


class FMLTrainer(Partial):
    """Trains both models; returns the meme, keeps its own."""

    about: ClassVar[str] = "trains its own model and the common one, which learn from each other"
    alpha: Annotated[float, Field(ge=0, le=1, description="labels' share in the local loss")] = 0.5
    beta: Annotated[float, Field(ge=0, le=1, description="labels' share in the meme's loss")] = 0.5

    def extension(self) -> Extension:
        """Return the meme."""
        from models.beside.common import CommonModel

        return CommonModel()

    def fit(self, work: ClientRound, start: NamedArrays) -> Trained:
        """Minimise both losses at once."""
        loss = Mutual(alpha=self.alpha, beta=self.beta).around(work.objective)
        return work.fit(start.vector, objective=loss)
