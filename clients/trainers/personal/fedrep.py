"""FedRep's client half: first the personal part over a fixed body, then the body.

Collins et al., "Exploiting Shared Representations for Personalized Federated Learning", ICML 2021,
https://arxiv.org/abs/2102.07078, Algorithm 1. From the received body phi^t and its own head h_i,
a client

    h_i <- `head-epochs` of descent on f_i(h_i, phi^t)
    phi_i <- `body-epochs` of descent on f_i(h_i, phi_i), from phi^t and the new h_i

phi_i goes back to the server, h_i stays on the node. What is not trained keeps its numbers to the
bit, and each of the two phases has an optimiser of its own.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, ClassVar

from pydantic import Field

from clients.trainers.base import ClientRound, Outcome
from clients.trainers.partial import Partial
from models.schema import NamedArrays


class FedRepTrainer(Partial):
    """Trains the personal part, then the shared one."""

    about: ClassVar[str] = "trains what stays with the client first, then what the server sent"
    head_epochs: Annotated[int, Field(ge=1, description="epochs of the personal part")] = 10
    body_epochs: Annotated[int, Field(ge=1, description="epochs of the shared part")] = 1

    def train(self, work: ClientRound) -> Outcome:
        """Train head, then body; return the body."""
        body = work.start.schema
        head = work.model.schema.only([k for k in work.model.schema.slices if k not in body.slices])
        first = work.fit(
            self.model_of(work).vector,
            recipe=replace(work.recipe, local_epochs=self.head_epochs, local_steps=0),
            trainable=head,
            purpose="head",
        )
        second = work.fit(
            first.vector,
            recipe=replace(work.recipe, local_epochs=self.body_epochs, local_steps=0),
            trainable=body,
            purpose="body",
        )
        arrays = NamedArrays(work.model.schema, second.vector)
        work.keep(dict(arrays.only(head)), {})
        seen = first.examples + second.examples
        loss = (first.loss * first.examples + second.loss * second.examples) / max(1, seen)
        return Outcome(arrays.only(body), {"train_loss": loss})
