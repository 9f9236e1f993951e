"""The mean prototype of each class over the clients that have the class; every client counts once.

P_c = 1 / |S_c| sum_{k in S_c} o_{k,c},    S_c = clients of the round with class c
"""

from __future__ import annotations

from typing import Self

import numpy as np
import numpy.typing as npt

from models.prototypes.tables import Mask, Table


class ClassMean:
    """A mean in progress; holds one table whatever the number of clients.

    Parameters
    ----------
    shape : tuple of int
        (C, D).

    Attributes
    ----------
    clients : ndarray, shape (C,)
        How many have each class.
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        self._sums = np.zeros(shape)
        self._squares = 0.0
        self.clients: npt.NDArray[np.int64] = np.zeros(shape[0], np.int64)

    def add(self, values: Table, present: Mask) -> None:
        """Add one client's rows, shapes (C, D) and (C,); only those that are present count."""
        rows = values[present].astype(np.float64)
        self._sums[present] += rows
        self._squares += float(np.einsum("cd,cd->", rows, rows))
        self.clients += present

    def merge(self, other: Self) -> None:
        """Add another stream."""
        self._sums += other._sums
        self._squares += other._squares
        self.clients += other.clients

    @property
    def present(self) -> Mask:
        """The classes that somebody has, shape (C,)."""
        return self.clients > 0

    def result(self) -> npt.NDArray[np.float64]:
        """Return P, shape (C, D); zeros for classes that nobody has."""
        mean: npt.NDArray[np.float64] = self._sums / np.maximum(self.clients, 1)[:, None]
        return mean

    def spread(self) -> float:
        """Return the root mean square distance of the clients' prototypes from P."""
        mean = self.result()
        between = self._squares - float((self.clients * np.einsum("cd,cd->c", mean, mean)).sum())
        return float(np.sqrt(max(0.0, between) / max(1, int(self.clients.sum()))))
