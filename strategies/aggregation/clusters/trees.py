"""Hierarchical clustering by Ward's criterion, and where the tree is cut.

Ward, "Hierarchical Grouping to Optimize an Objective Function", 1963; the tree is SciPy's linkage
matrix. Merging clusters a and b has the height sqrt(2 |a||b| / (|a| + |b|)) ||mean_a - mean_b||.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.cluster import hierarchy
from scipy.spatial.distance import pdist, squareform

from models.errors import BouquetError
from models.randomness import derive_generator

Float64 = npt.NDArray[np.float64]
Groups = npt.NDArray[np.int64]
_LOOKED_AT = 500
_MOST_GROUPS = 30
_SAMPLES = 10
_SURELY_APART = 0.8
_ABOVE_NOISE = 1.45
_PASSES = 20


def ward_tree(features: Float64) -> Float64:
    """Return the linkage matrix of points, shape (n - 1, 4); features of shape (n, d), n >= 1."""
    if len(features) < 2:
        return np.zeros((0, 4))
    if not np.isfinite(features).all():
        raise BouquetError("points to cluster hold numbers that are not finite")
    tree: Float64 = hierarchy.linkage(features, method="ward")
    return tree


def cut(tree: Float64, height: float) -> Groups:
    """Return a group's number for each point, in the order in which groups first appear."""
    if not len(tree):
        return np.zeros(1, np.int64)
    return numbered(hierarchy.fcluster(tree, t=height, criterion="distance"))


def groups_of(tree: Float64, count: int) -> Groups:
    """Cut into at most so many groups."""
    if not len(tree):
        return np.zeros(1, np.int64)
    return numbered(hierarchy.fcluster(tree, t=count, criterion="maxclust"))


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
    """Return the row of `means` that is nearest to a point, by the numbers that are not NaN."""
    return int(np.argmin(np.nansum(np.square(means - point), axis=1)))


def best_cut(tree: Float64, features: Float64, least: float) -> tuple[Groups, float]:
    """Cut where the groups stand apart most, by their mean silhouette; nowhere if none does.

    A point's silhouette is (b - a) / max(a, b), with a its mean distance to the others of its group
    and b to those of the nearest other group; 0 where it is alone (Rousseeuw 1987). It has no
    scale, but points without any groups have one above 0 too, a large one in few dimensions. So it
    is compared with what Ward's groups of normal points of the same principal variances have: a cut
    counts if it is above that by two standard deviations (or above 0.8), and above `least`. Of
    those that count the one with the largest silhouette is taken.

    Distances are looked at as they are, and in the principal components that stand out: in all of
    the many dimensions of an update noise makes all clients about equally far from one another. Of
    many points 500 at equal steps are looked at.

    Parameters
    ----------
    tree : ndarray, shape (n - 1, 4)
    features : ndarray, shape (n, d)
    least : float

    Returns
    -------
    groups : ndarray, shape (n,)
    height : float
        Where the tree is cut.
    """
    count = len(features)
    groups = np.zeros(count, np.int64)
    height = float(tree[-1, 2]) if len(tree) else 0.0
    looked_at = np.unique(np.linspace(0, count - 1, min(count, _LOOKED_AT)).astype(np.int64))
    numbers = range(2, min(_MOST_GROUPS, len(looked_at) - 1) + 1)
    cuts = {number: groups_of(tree, number) for number in numbers}
    best = 0.0
    points, out = principal(features[looked_at])
    for space in (points, points[:, :out]):
        if not space.size or not cuts:
            continue
        distances = squareform(pdist(space))
        bars = _by_chance(space, numbers)
        for (number, found), bar in zip(cuts.items(), bars, strict=True):
            score = silhouette(distances, found[looked_at])
            if score >= max(least, bar) and score > best:
                # Between the last merge that is kept and the first that is undone.
                height = float(tree[-number, 2] + tree[-number + 1, 2]) / 2
                best, groups = score, found
    return groups, height


def _by_chance(points: Float64, numbers: Sequence[int]) -> Float64:
    """Return for each number of groups the silhouette that points without groups may reach."""
    deviations = points.std(axis=0)
    found = []
    for sample in range(_SAMPLES):
        generator = derive_generator(0, "silhouette", sample)
        made = deviations * generator.normal(size=points.shape)
        tree, distances = ward_tree(made), squareform(pdist(made))
        found.append([silhouette(distances, groups_of(tree, number)) for number in numbers])
    rows = np.array(found)
    bars: Float64 = np.minimum(rows.mean(axis=0) + 2 * rows.std(axis=0), _SURELY_APART)
    return bars


def principal(points: Float64) -> tuple[Float64, int]:
    """Return the principal coordinates of points, and how many of them stand out of the noise.

    A component stands out if its variance is above 1.45 times the largest of pure noise. That is
    (1 + sqrt(beta))^2 / (1 - beta/3) times the median one, with beta the ratio of the matrix's
    shorter to its longer side (Marchenko and Pastur 1967; the median is approximate).

    Parameters
    ----------
    points : ndarray, shape (n, d)

    Returns
    -------
    coordinates : ndarray, shape (n, min(n - 1, d))
        Largest variance first.
    out : int
    """
    count, size = points.shape
    centred = points - points.mean(axis=0)
    if size >= count:
        values, vectors = np.linalg.eigh(centred @ centred.T)
        values, vectors = values[1:], vectors[:, 1:]  # the centre takes one dimension away
        coordinates = vectors * np.sqrt(np.maximum(values, 0.0))
    else:
        values, vectors = np.linalg.eigh(centred.T @ centred)
        coordinates = centred @ vectors
    if not len(values):
        return coordinates, 0
    beta = min(count, size) / max(count, size)
    edge = (1 + np.sqrt(beta)) ** 2 / (1 - beta / 3)
    out = int((values > _ABOVE_NOISE * edge * np.median(values)).sum())
    return coordinates[:, ::-1], out


def silhouette(distances: Float64, groups: Groups) -> float:
    """Return the mean silhouette of points; distances of shape (n, n)."""
    _, groups = np.unique(groups, return_inverse=True)
    sizes = np.bincount(groups)
    if len(sizes) < 2:
        return 0.0
    rows = np.arange(len(groups))
    sums = distances @ np.eye(len(sizes))[groups]
    own = sizes[groups]
    inside = sums[rows, groups] / np.maximum(own - 1, 1)
    means = sums / sizes
    means[rows, groups] = np.inf
    outside = means.min(axis=1)
    larger = np.maximum(np.maximum(inside, outside), 1e-300)
    return float(np.where(own > 1, (outside - inside) / larger, 0.0).mean())


def settled(groups: Groups, features: Float64) -> Groups:
    """Move points one at a time while that lowers the sum of squares that Ward's criterion sums.

    A tree never takes a merge back, so that a point may end beside another group's mean. Moving
    point x from a to b lowers the sum if |b|/(|b| + 1) ||x - mean_b||^2 is less than
    |a|/(|a| - 1) ||x - mean_a||^2 (Hartigan 1975). Nobody leaves a group empty.

    Parameters
    ----------
    groups : ndarray, shape (n,)
        Numbered from 0 without gaps.
    features : ndarray, shape (n, d)
    """
    found = groups.copy()
    sizes = np.bincount(found).astype(np.float64)
    sums = np.stack([features[found == group].sum(axis=0) for group in range(len(sizes))])
    for _ in range(_PASSES):
        moved = False
        for point, own in enumerate(found):
            if sizes[own] == 1:
                continue
            squares = np.square(sums / sizes[:, None] - features[point]).sum(axis=1)
            costs = squares * sizes / (sizes + 1)
            costs[own] = squares[own] * sizes[own] / (sizes[own] - 1)
            best = int(np.argmin(costs))
            if costs[best] < costs[own] * (1 - 1e-9):
                sums[own] -= features[point]
                sums[best] += features[point]
                sizes[own] -= 1
                sizes[best] += 1
                found[point], moved = best, True
        if not moved:
            break
    return numbered(found)
