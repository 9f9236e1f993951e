"""Hierarchical clustering by Ward's criterion, and where the tree is cut.

Ward, "Hierarchical Grouping to Optimize an Objective Function", 1963; the tree is SciPy's linkage
matrix. Merging clusters a and b has the height sqrt(2 |a||b| / (|a| + |b|)) ||mean_a - mean_b||.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.cluster import hierarchy

from models.errors import BouquetError

Float64 = npt.NDArray[np.float64]
Groups = npt.NDArray[np.int64]


def ward_tree(features: Float64) -> Float64:
    """Return the linkage matrix of points, shape (n - 1, 4); features of shape (n, d), n >= 1."""
    if len(features) < 2:
        return np.zeros((0, 4))
    if not np.isfinite(features).all():
        raise BouquetError("points to cluster hold numbers that are not finite")
    tree: Float64 = hierarchy.linkage(features, method="ward")
    return tree


def cut_height(tree: Float64, threshold: float, normalised: float) -> float:
    """Return where to cut: at a distance, or where that is 0 at a share of the largest height."""
    if threshold > 0:
        return threshold
    return normalised * float(tree[-1, 2]) if len(tree) else 0.0


def cut(tree: Float64, height: float) -> Groups:
    """Return a group's number for each point, in the order in which groups first appear."""
    if not len(tree):
        return np.zeros(1, np.int64)
    return numbered(hierarchy.fcluster(tree, t=height, criterion="distance"))


def numbered(labels: npt.NDArray[np.integer]) -> Groups:
    """Return the same groups, numbered from 0 in the order in which they first appear."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.argsort(np.argsort(first))
    return rank[inverse].astype(np.int64)


def leaves(tree: Float64) -> list[int]:
    """Return the points in the order in which a drawing shows them."""
    return hierarchy.leaves_list(tree).tolist() if len(tree) else [0]


def without_singletons(
    groups: Groups, features: Float64, rule: Literal["nearest", "distance-to-server"]
) -> Groups:
    """Move points that are alone into a group; where all are alone, they are one group.

    Parameters
    ----------
    groups : ndarray, shape (n,)
    features : ndarray, shape (n, d)
        Differences from the server's model.
    rule : {"nearest", "distance-to-server"}
        Into the group whose mean is nearest; or, as the official program does, into that of the
        point whose squared distance to the server's model is most like its own.
    """
    sizes = np.bincount(groups)
    alone = np.flatnonzero(sizes[groups] == 1)
    others = np.flatnonzero(sizes[groups] > 1)
    if not len(alone):
        return groups
    if not len(others):
        return np.zeros_like(groups)
    moved = groups.copy()
    if rule == "nearest":
        kept = np.unique(groups[others])
        means = np.stack([features[groups == group].mean(axis=0) for group in kept])
        for point in alone:
            moved[point] = kept[nearest_mean(features[point], means)]
    else:
        squares = np.einsum("ij,ij->i", features, features)
        for point in alone:
            moved[point] = groups[others[np.argmin(np.abs(squares[others] - squares[point]))]]
    return numbered(moved)


def nearest_mean(point: Float64, means: Float64) -> int:
    """Return the row of `means` that is nearest to a point."""
    return int(np.argmin(np.square(means - point).sum(axis=1)))
