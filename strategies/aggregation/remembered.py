"""The running sum over everybody's remembered update, kept in step with the memory.

With h_i the remembered update of client i and n_i its weight, sum_i n_i h_i and sum_i n_i are known
at any time; replacing one client's memory changes them by one vector. So a rule that uses all
memories reads only those of its cohort.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from models.schema import Vector


class RunningSum:
    """sum_i n_i h_i and sum_i n_i; also a change of them, to be merged into another.

    Parameters
    ----------
    size : int
        Length of the vectors.

    Attributes
    ----------
    vector : ndarray of float64, shape (size,)
        sum n_i h_i.
    weight : float
        sum n_i over the clients that have a memory.
    """

    def __init__(self, size: int) -> None:
        self.vector: npt.NDArray[np.float64] = np.zeros(size)
        self.weight = 0.0

    @classmethod
    def of(cls, vector: Vector, weight: float) -> RunningSum:
        """Return a sum that was kept."""
        kept = cls(0)
        kept.vector, kept.weight = vector.astype(np.float64), weight
        return kept

    def change(
        self,
        old: Vector | None,
        old_weight: float,
        new: Vector | Sequence[float] | None,
        new_weight: float,
    ) -> None:
        """Replace one client's memory, shape (size,); None where there is none."""
        if new is not None:
            self.vector += new_weight * np.asarray(new, np.float64)
            self.weight += new_weight
        if old is not None:
            self.vector -= old_weight * np.asarray(old, np.float64)
            self.weight -= old_weight

    def merge(self, other: RunningSum) -> None:
        """Add a change."""
        self.vector += other.vector
        self.weight += other.weight
