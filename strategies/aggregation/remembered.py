"""The running sum over all remembered updates: sum_i n_i h_i and sum_i n_i.

A round changes it by what its participants replace, n_i h_i (new) - n_i h_i (old), so that it costs
as much as the cohort, whatever the number of clients.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from models.schema import Vector


class Share(Protocol):
    """One client's h_i and n_i."""

    @property
    def vector(self) -> Vector:
        """h_i, shape (size,)."""

    @property
    def examples(self) -> float:
        """n_i."""


class RunningSum:
    """sum_i n_i h_i in float64, or what a part of a round changes in it.

    Changes in one order and merges in one order give the same bits; the caller fixes both.

    Parameters
    ----------
    size : int
        Length of the vectors.

    Attributes
    ----------
    vector : ndarray of float64, shape (size,)
        sum_i n_i h_i.
    examples : float
        sum_i n_i.
    """

    def __init__(self, size: int) -> None:
        self.vector = np.zeros(size, dtype=np.float64)
        self.examples = 0.0

    @classmethod
    def of(cls, vector: npt.NDArray[np.float64], examples: float) -> RunningSum:
        """Return a sum that starts from these values; it keeps a copy."""
        start = cls(vector.shape[0])
        start.vector += vector
        start.examples = examples
        return start

    def replace(self, old: Share | None, vector: Vector, examples: float) -> None:
        """Put a client's new update in the place of its old one.

        Parameters
        ----------
        old : Share or None
            What is remembered of it; None for a client that joins.
        vector : ndarray, shape (size,)
            As stored, not as received.
        examples : float
        """
        if old is not None:
            self.leave(old)
        self.vector += np.multiply(vector, examples, dtype=np.float64)
        self.examples += examples

    def leave(self, old: Share | None) -> None:
        """Take a leaver's share out; None, of which nothing is remembered, changes nothing."""
        if old is not None:
            self.vector -= np.multiply(old.vector, old.examples, dtype=np.float64)
            self.examples -= old.examples

    def merge(self, other: RunningSum) -> None:
        """Add the changes of another stream."""
        self.vector += other.vector
        self.examples += other.examples

    def mean(self) -> npt.NDArray[np.float64] | None:
        """Return sum_i n_i h_i / sum_i n_i, or None while sum_i n_i is zero."""
        return self.vector / self.examples if self.examples > 0 else None
