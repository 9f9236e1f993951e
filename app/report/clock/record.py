"""Trainings on the clock of a run, and what follows from them for each client."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Timeline:
    """Every training that ended, in clock seconds.

    Attributes
    ----------
    clients : tuple of str
        All clients, also those who never trained.
    closed : mapping of int to float
        The second at which each round closed, as far as it is known.
    client : ndarray of int64, shape (trainings,)
        Whose it was, as a place in `clients`.
    round : ndarray of int64, shape (trainings,)
        The round that closed with it.
    base : ndarray of int64, shape (trainings,)
        The round in which its start was sent.
    sent, arrived : ndarray of float64, shape (trainings,)
    counted : ndarray of bool, shape (trainings,)
        False where nothing came of it: dropped out, late, refused, released.
    """

    clients: tuple[str, ...]
    closed: Mapping[int, float]
    client: NDArray[np.int64]
    round: NDArray[np.int64]
    base: NDArray[np.int64]
    sent: NDArray[np.float64]
    arrived: NDArray[np.float64]
    counted: NDArray[np.bool_]

    @cached_property
    def staleness(self) -> NDArray[np.int64]:
        """Rounds closed between download and aggregation, shape (trainings,)."""
        stale: NDArray[np.int64] = np.maximum(self.round - self.base, 0)
        return stale

    @cached_property
    def used(self) -> NDArray[np.int64]:
        """How many updates of each client went into the model, shape (clients,)."""
        return np.bincount(self.client[self.counted], minlength=len(self.clients))

    @cached_property
    def seconds(self) -> NDArray[np.float64]:
        """Mean seconds of each client's counted trainings; NaN without one, shape (clients,)."""
        spent = np.bincount(
            self.client[self.counted],
            (self.arrived - self.sent)[self.counted],
            minlength=len(self.clients),
        )
        mean: NDArray[np.float64] = np.full(len(spent), np.nan)
        np.divide(spent, self.used, out=mean, where=self.used > 0)
        return mean

    @property
    def end(self) -> float:
        """The last second of all."""
        return max(float(self.arrived.max()), *self.closed.values(), 0.0)

    def close_of(self, number: int) -> float:
        """Return the second at which a round closed; at its last answer where it was not said."""
        known = self.closed.get(number)
        if known is not None:
            return known
        return float(self.arrived[(self.round == number) & self.counted].max(initial=0.0))
