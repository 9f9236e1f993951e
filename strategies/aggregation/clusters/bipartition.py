"""CFL's split of a cluster in two, by the angles between its clients' updates.

Sattler et al., "Clustered Federated Learning", 2019, https://arxiv.org/abs/1910.01991.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform

from strategies.aggregation.clusters.trees import numbered

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Norms:
    """The norms that the criteria look at.

    Attributes
    ----------
    mean : float
        ||mean_i dW_i||.
    largest : float
        max_i ||dW_i||.
    """

    mean: float
    largest: float

    @classmethod
    def of(cls, updates: Float64) -> Norms:
        """Measure updates, shape (n, d)."""
        return cls(
            float(np.linalg.norm(updates.mean(axis=0))),
            float(np.linalg.norm(updates, axis=1).max()),
        )


def cosine_similarity(updates: Float64) -> Float64:
    """Return S_ij = <dW_i, dW_j> / (||dW_i|| ||dW_j||), shape (n, n); 0 beside a zero update."""
    norms = np.linalg.norm(updates, axis=1, keepdims=True)
    unit = updates / np.where(norms > 0, norms, 1.0)
    found: Float64 = np.clip(unit @ unit.T, -1.0, 1.0)
    np.fill_diagonal(found, 1.0)
    return found


def bipartition(similarity: Float64) -> tuple[list[int], list[int]]:
    """Split by complete linkage on 1 - S; the larger part first, then that of the first row.

    Parameters
    ----------
    similarity : ndarray, shape (n, n)
        n at least 2.

    Returns
    -------
    tuple of two lists of int
        Row numbers of `similarity`.
    """
    distances = squareform(1.0 - (similarity + similarity.T) / 2, checks=False)
    tree = hierarchy.linkage(np.maximum(distances, 0.0), method="complete")
    groups = numbered(hierarchy.fcluster(tree, t=2, criterion="maxclust"))
    parts = [np.flatnonzero(groups == group).tolist() for group in (0, 1)]
    return (parts[0], parts[1]) if len(parts[0]) >= len(parts[1]) else (parts[1], parts[0])
