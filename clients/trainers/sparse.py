"""Sparse answers: dense training, and only the largest changes travel back.

The client half of CELLM and FLASC (`strategies.lora.cellm`).
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from clients.trainers.base import ClientRound, Outcome, Trainer
from models.schema import NamedArrays
from models.sparse import delta_schema, top_k


class Sparse(Trainer):
    """Returns the largest part of start minus result."""

    about: ClassVar[str] = "trains everything, returns the largest changes only"
    density: Annotated[float, Field(ge=0, le=1, description="share of the numbers returned")] = 0.25

    def train(self, work: ClientRound) -> Outcome:
        """Train from what was sent, zeros where nothing was."""
        trained = work.fit(work.start.vector)
        delta = work.start.vector - trained.vector
        kept = np.where(top_k(delta, self.density), delta, np.float32(0))
        arrays = NamedArrays(delta_schema(work.start.schema), kept)
        return Outcome(arrays, {"train_loss": trained.loss})

    def model_of(self, work: ClientRound) -> NamedArrays:
        """Return what was sent, zeros where nothing was."""
        return NamedArrays(work.model.schema, work.start.vector)
