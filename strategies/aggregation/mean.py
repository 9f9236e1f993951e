"""The weighted mean, one update at a time.

FedAvg (McMahan et al. 2017): w <- sum_k n_k w_k / sum_k n_k over the participants k.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from models.schema import NamedArrays, Schema, Vector
from strategies.aggregation.blocks import add_scaled, divided


class WeightedMean:
    """Running sum of weighted vectors in float64; memory does not grow with their number.

    Adding in one order and merging in one order gives the same bits; the caller fixes both.

    Parameters
    ----------
    size : int
        Length of the vectors.
    """

    def __init__(self, size: int) -> None:
        self.total = np.zeros(size, dtype=np.float64)
        self.weight = 0.0

    def add(self, vector: Vector, weight: float) -> None:
        """Add one vector, shape (size,), with a weight >= 0."""
        add_scaled(self.total, vector, weight)
        self.weight += weight

    def merge(self, other: WeightedMean) -> None:
        """Take another sum into this one."""
        self.total += other.total
        self.weight += other.weight

    def result(self) -> npt.NDArray[np.float64] | None:
        """Return the mean, or None while the weights sum to zero."""
        return self.total / self.weight if self.weight > 0 else None

    def model(self, schema: Schema) -> NamedArrays | None:
        """Return the mean in the schema's dtype, or None; without a second float64 copy."""
        if self.weight <= 0:
            return None
        vector = np.empty(schema.size, dtype=schema.dtype)
        divided(self.total, self.weight, vector)
        return NamedArrays(schema, vector)


def weighted_mean(pairs: Iterable[tuple[Vector, float]]) -> npt.NDArray[np.float64] | None:
    """Return the mean of (vector, weight) pairs, or None if the weights sum to zero."""
    mean: WeightedMean | None = None
    for vector, weight in pairs:
        mean = mean or WeightedMean(vector.shape[0])
        mean.add(vector, weight)
    return mean.result() if mean else None
