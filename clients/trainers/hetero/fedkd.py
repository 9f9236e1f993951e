"""FedKD's client half: mentor and mentee learn from the labels, each other and their features.

Each loss moves its own model only, and W_h is moved with the mentee. See `strategies.hetero.fedkd`
for the paper and the letters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from clients.trainers.base import ClientRound
from clients.trainers.hetero.beside import Batch, OwnLoss, module_of
from clients.trainers.hetero.fml import divergence
from clients.trainers.partial import Partial
from models.beside.keys import SHARED
from models.schema import NamedArrays

if TYPE_CHECKING:
    import torch

    from clients.training import Trained
    from models.adapted import AdaptedModel
    from models.beside.extended import Extension


class Mentoring(OwnLoss):
    """L_t + L_s, with each model's gradient cut to a length."""

    about: ClassVar[str] = "mentor and mentee learn from the labels and from each other"
    clip: float

    def loss(self, model: AdaptedModel, batch: Batch, targets: torch.Tensor) -> torch.Tensor:
        """Return the sum of both losses; each has its own model's gradient only."""
        import torch

        from models.beside.common import PairBeside

        functional = torch.nn.functional
        seen = module_of(model, PairBeside).views(batch)
        of_t = functional.cross_entropy(seen.own, targets)
        of_s = functional.cross_entropy(seen.common, targets)
        h_t, h_s = seen.own_hidden, seen.common_hidden
        # The smallest float keeps two models without any error from a division by zero.
        tiny = torch.finfo(of_t.dtype).tiny
        taught_t = divergence(seen.common, seen.own) + functional.mse_loss(h_t, h_s.detach())
        taught_s = divergence(seen.own, seen.common) + functional.mse_loss(h_s, h_t.detach())
        loss_t = of_t + taught_t / (of_t + of_s.detach() + tiny)
        loss_s = of_s + taught_s / (of_t.detach() + of_s + tiny)
        return loss_t + loss_s

    def adjust_gradient(self, model: AdaptedModel, start: torch.Tensor) -> None:
        """Cut the gradients of mentor and mentee, each by itself."""
        super().adjust_gradient(model, start)
        if not self.clip or model.flat.grad is None:
            return
        for mentee in (False, True):
            parts = [
                model.flat.grad[place]
                for key, (place, _) in model.schema.slices.items()
                if key.startswith(SHARED) == mentee
            ]
            length = sum(float(part.square().sum()) for part in parts) ** 0.5
            for part in parts if length > self.clip else []:
                part.mul_(self.clip / length)


class FedKDTrainer(Partial):
    """Trains mentor and mentee; returns the mentee, keeps the mentor and W_h."""

    about: ClassVar[str] = "trains its own model and the common one, which teach each other"
    clip: Annotated[float, Field(ge=0, description="longest gradient of each model")] = 10.0

    def extension(self) -> Extension:
        """Return the mentee, and W_h."""
        from models.beside.common import CommonModel

        return CommonModel(hidden=True)

    def fit(self, work: ClientRound, start: NamedArrays) -> Trained:
        """Minimise both losses at once."""
        loss = Mentoring(clip=self.clip).around(work.objective)
        return work.fit(start.vector, objective=loss)
