"""LG-FedAvg's client half: the representation and the shared head are trained together.

See `strategies.hetero.lg_fedavg` for the paper and the letters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from clients.trainers.base import ClientRound
from clients.trainers.partial import Partial
from models.schema import NamedArrays

if TYPE_CHECKING:
    from clients.training import Trained
    from models.beside.extended import Extension


class SharedHeadTrainer(Partial):
    """Trains its own representation under the shared head."""

    about: ClassVar[str] = "trains its own representation under the shared head"
    features: Annotated[int, Field(ge=1, description="width of the head's input")]

    def extension(self) -> Extension:
        """Return the shared head, in the own one's place."""
        from models.beside.shared_head import SharedHead

        return SharedHead(self.features)

    def fit(self, work: ClientRound, start: NamedArrays) -> Trained:
        """Train all but the model's own head, which is out of use."""
        schema = start.schema
        used = schema.only([key for key in schema.slices if not schema.in_head(key)])
        return work.fit(start.vector, trainable=used)
