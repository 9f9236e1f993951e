"""Client halves that classify by a head: FD distils logits, FedGH takes the server's head.

Equations and papers are in the server halves, `strategies.prototypes`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from clients.trainers.base import ClientRound
from clients.trainers.prototypes.base import Prototypical, rows_and_mask
from models.prototypes.tables import HEAD_BIAS, HEAD_WEIGHT, LOGITS, last_layer_keys
from models.schema import NamedArrays

if TYPE_CHECKING:
    from clients.objectives.prototypes.collecting import Collecting


class Distil(Prototypical):
    """FD: distils the mean logits of each class and returns its own."""

    about: ClassVar[str] = "distils mean logits a class, returns its own"
    values: ClassVar[str] = LOGITS
    lambda_: Annotated[
        float, Field(alias="lambda", ge=0, description="weight of the distillation")
    ] = 1.0

    def objective(self, work: ClientRound) -> Collecting:
        """Return the distillation from what the server sent."""
        import torch

        from clients.objectives.prototypes.terms import Distillation

        objective = Distillation(weight=self.lambda_)
        rows, known = rows_and_mask(work, LOGITS)
        device = work.model.device
        objective.towards(torch.tensor(rows, device=device), torch.tensor(known, device=device))
        return objective


class GlobalHead(Prototypical):
    """FedGH: begins with the server's head and returns prototypes."""

    about: ClassVar[str] = "trains from the server's head, returns class means"
    collect: Literal["after"] = "after"

    def objective(self, work: ClientRound) -> Collecting:
        """Return nothing beside the objective of the run."""
        from clients.objectives.prototypes.collecting import Collecting

        return Collecting()

    def model_of(self, work: ClientRound) -> NamedArrays:
        """Return the client's own adapter with the server's head."""
        self.shape(work)
        weight, bias = last_layer_keys(work.model.schema)
        head = {weight: work.start[HEAD_WEIGHT]}
        if bias and HEAD_BIAS in work.start:
            head[bias] = work.start[HEAD_BIAS]
        return super().model_of(work).overlaid(head)
