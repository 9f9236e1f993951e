"""Training some factors while the others stay: the client half of FFA-LoRA and RoLoRA.

What the server does not send is as it was before anybody trained, the same on every client; what is
not trained keeps its numbers to the bit. Only what was trained is returned.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from clients.trainers.base import ClientRound, Outcome, Trainer
from models.lora.factors import with_roles
from models.schema import NamedArrays


class Frozen(Trainer):
    """Trains the arrays of some roles and returns them."""

    about: ClassVar[str] = "trains some of the factors, the others stay frozen"
    roles: Annotated[
        str, Field(description="comma list of A, B and rest (head, biases): what is trained")
    ] = "A,B,rest"

    def train(self, work: ClientRound) -> Outcome:
        """Train what is not frozen."""
        trainable = with_roles(work.model.schema, self.roles.split(","))
        trained = work.fit(self.model_of(work).vector, trainable=trainable)
        arrays = NamedArrays(work.model.schema, trained.vector)
        return Outcome(arrays.only(trainable), {"train_loss": trained.loss})

    def model_of(self, work: ClientRound) -> NamedArrays:
        """Return the common start, with what the server sent."""
        return work.initial.overlaid(work.start)
