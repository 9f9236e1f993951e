"""A round in which clients send the Gaussians of their classes instead of training."""

from __future__ import annotations

from typing import Self

import numpy as np

from models.prototypes.tables import COUNTS, COVARIANCES, MEANS
from models.schema import ArraySpec, Schema
from strategies.aggregation.prototypes.gaussians import PooledGaussians, unpacked
from strategies.rounds.context import Update


def statistics_schema(classes: int, features: int) -> Schema:
    """Return the schema of what a client sends: counts, means, upper triangles of covariances."""
    triangle = features * (features + 1) // 2
    shapes = {COUNTS: (classes,), COVARIANCES: (classes, triangle), MEANS: (classes, features)}
    return Schema(tuple(ArraySpec(key, shapes[key]) for key in sorted(shapes)))


class StatisticsRound:
    """The pooled Gaussians of one round."""

    def __init__(self, classes: int, features: int) -> None:
        self.pooled = PooledGaussians(classes, features)
        self._features = features

    def add(self, update: Update) -> None:
        """Add one client's statistics."""
        if update.num_examples:
            arrays = update.arrays
            # A count is whole however it travelled, and no class has more than there are.
            counts = np.clip(np.rint(arrays[COUNTS]), 0, update.num_examples)
            covariances = unpacked(arrays[COVARIANCES], self._features)
            self.pooled.add(counts, arrays[MEANS], covariances)

    def merge(self, other: Self) -> None:
        """Add another node's sums."""
        self.pooled.merge(other.pooled)
