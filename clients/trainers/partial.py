"""Partial sharing: what the server does not send belongs to the client and stays with it.

The client half of methods that personalise some of the layers (FedPer, Arivazhagan et al. 2019;
FedAlt and FedSim, Pillutla et al., "Federated Learning with Partial Model Personalization", ICML
2022). Shared and personal arrays are trained together (FedSim); the shared ones are returned, the
others are kept on the client's node for its next round.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from clients.trainers.base import ClientRound, Outcome, Trainer
from models.schema import NamedArrays

if TYPE_CHECKING:
    from clients.training import Trained


class Partial(Trainer):
    """Shares the arrays that the server sent and keeps the others."""

    about: ClassVar[str] = "returns what the server sent, keeps the rest on the client's node"

    def train(self, work: ClientRound) -> Outcome:
        """Train both parts together."""
        trained = self.fit(work, self.model_of(work))
        arrays = NamedArrays(work.model.schema, trained.vector)
        shared = work.start.schema
        work.keep({key: arrays[key] for key in arrays if key not in shared.slices}, {})
        return Outcome(arrays.only(shared), {"train_loss": trained.loss})

    def fit(self, work: ClientRound, start: NamedArrays) -> Trained:
        """Train from the client's model, shared and own parts together."""
        return work.fit(start.vector)

    def model_of(self, work: ClientRound) -> NamedArrays:
        """Return the shared part over the client's own; that begins as everybody's start."""
        own = work.kept.arrays if work.kept is not None else {}
        return work.initial.overlaid(own).overlaid(work.start)
