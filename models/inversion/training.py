"""What a method asks of a client's training where the server computes it itself."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from models.schema import Schema, Vector

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Synthetic:
    """Data that stand for a client's: never shown, never in a report.

    Attributes
    ----------
    inputs : ndarray, shape (M, ...)
        In the model's own units.
    labels : ndarray, shape (M, C)
        Soft labels are their softmax.
    """

    inputs: Array
    labels: Array

    def flat(self) -> Vector:
        """Return all numbers, shape (M (D + C),)."""
        flat: Vector = np.concatenate([self.inputs.reshape(-1), self.labels.reshape(-1)])
        return flat

    def like(self, flat: Vector) -> Synthetic:
        """Return the data that `flat` gave, of the same shapes."""
        numbers = flat.astype(np.float32, copy=False)
        inputs, labels = np.split(numbers, [self.inputs.size])
        return Synthetic(inputs.reshape(self.inputs.shape), labels.reshape(self.labels.shape))


@dataclass(frozen=True)
class Pace:
    """How a client trained.

    Attributes
    ----------
    steps : int
        Steps of SGD.
    rate : float
        Learning rate.
    """

    steps: int
    rate: float

    def capped(self, most: int) -> Pace:
        """Return at most so many steps that go as far together."""
        if self.steps <= most:
            return self
        return replace(self, steps=most, rate=self.rate * self.steps / most)


@dataclass(frozen=True)
class Search:
    """How data are sought that would give an update.

    Attributes
    ----------
    iterations : int
    rate : float
        Learning rate of Adam, cut to a tenth after 3/8, 5/8 and 7/8 of the iterations.
    distance : {"l1", "cosine"}
        Between the update that the data give and the one that came.
    share : float
        Share of the update's numbers that is compared: the largest ones.
    signed : bool
        Whether Adam sees of the inputs' gradient only the signs.
    """

    iterations: int
    rate: float
    distance: Literal["l1", "cosine"]
    share: float
    signed: bool


class ClientTraining(Protocol):
    """A client's training, as a function of its start and its data."""

    @property
    def schema(self) -> Schema:
        """What is trained."""

    @property
    def input_size(self) -> int:
        """How many numbers an input has."""

    def pace(self, examples: int, server_round: int) -> Pace:
        """Return how a client of so many examples trains in a round."""

    def drawn(self, count: int, generator: np.random.Generator) -> Synthetic:
        """Return data to begin a search with: normal numbers, cut to what inputs can be."""

    def update(self, start: Vector, data: Synthetic, pace: Pace) -> Vector:
        """Return what training on `data` adds to `start`, shape (schema.size,)."""

    def recovered(
        self, start: Vector, update: Vector, pace: Pace, first: Synthetic, search: Search
    ) -> Synthetic:
        """Return data whose update from `start` is near `update`, sought from `first` on."""
