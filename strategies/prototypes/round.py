"""One round of prototypes: what clients sent, and the round of the method inside."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from models.prototypes.tables import PRESENT
from strategies.aggregation.prototypes.means import ClassMean
from strategies.rounds.context import Update


class PrototypeRound:
    """The tables of one round.

    Parameters
    ----------
    inner : Aggregation
    shape : tuple of int
        Of a table.
    key : str
        Of a table's rows.
    each : bool
        Whether every client's rows are needed by themselves.

    Attributes
    ----------
    mean : ClassMean
    """

    def __init__(self, inner: Any, shape: tuple[int, int], key: str, each: bool) -> None:
        self.inner = inner
        self.mean = ClassMean(shape)
        self._key, self._each = key, each
        self._rows: dict[str, tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]] = {}
        self._spread = 0.0
        self._examples = 0

    def add(self, update: Update) -> None:
        """Take a client's table, and hand on the rest."""
        arrays = update.arrays
        rest = arrays.schema.only([key for key in arrays if key not in (self._key, PRESENT)])
        self.inner.add(replace(update, arrays=arrays.only(rest)))
        if not update.num_examples:
            return
        values, present = arrays[self._key], arrays[PRESENT] > 0
        self.mean.add(values, present)
        self._spread += update.num_examples * update.metrics.get("class_spread", 0.0)
        self._examples += update.num_examples
        if self._each:
            classes = np.flatnonzero(present)
            self._rows[update.client] = values[classes].astype(np.float64), classes

    def merge(self, other: Self) -> None:
        """Take in another node's clients."""
        self.inner.merge(other.inner)
        self.mean.merge(other.mean)
        self._rows.update(other._rows)
        self._spread += other._spread
        self._examples += other._examples

    @property
    def class_spread(self) -> float:
        """How far examples are from their own client's prototype, by the clients' own account."""
        return self._spread / max(1, self._examples)

    def rows(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        """Return all clients' rows (n, D) and their classes (n,), in order of the clients."""
        ordered = [self._rows[client] for client in sorted(self._rows)]
        return np.concatenate([v for v, _ in ordered]), np.concatenate([c for _, c in ordered])
