"""Clusters of class prototypes: how many there are, their centres, and which is nearest.

FedDAA (https://arxiv.org/abs/2506.21054) takes k-means with the number of clusters of the largest
silhouette. Its prototypes have a block of numbers for each class. Where a client lacks a class, its
block says nothing: it is filled from the client's own centre and k-means runs again until nobody
moves, as in k-POD (Chi, Chi and Baraniuk, "k-POD: A Method for k-Means Clustering of Missing
Data", The American Statistician, 2016); the silhouette is by distances over the classes that two
clients share. With all classes everywhere that is plain k-means and the plain silhouette.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
FEWEST, MOST = 2, 9
_PASSES = 20


@dataclass(frozen=True)
class Clusters:
    """Clusters of prototypes.

    Attributes
    ----------
    centres : ndarray, shape (K, C, D)
    labels : ndarray, shape (N,)
        The cluster of each prototype.
    silhouettes : dict of int to float
        Of each number of clusters that was tried.
    """

    centres: Float
    labels: npt.NDArray[np.int64]
    silhouettes: dict[int, float]


def choose_clusters(prototypes: Float, present: Mask, count: int = 0) -> Clusters | None:
    """Cluster prototypes.

    Parameters
    ----------
    prototypes : ndarray, shape (N, C, D)
    present : ndarray of bool, shape (N, C)
        Which classes a client has.
    count : int
        Number of clusters; 0 = that of 2 to 9, and below N, with the largest silhouette (the
        smallest of equals).

    Returns
    -------
    Clusters or None
        None where there are too few different prototypes to tell clusters apart.
    """
    from sklearn.metrics import silhouette_score

    size = len(prototypes)
    tried = [count] if count else range(FEWEST, min(MOST, size - 1) + 1)
    apart = None if present.all() else _distances(prototypes, present)
    best: Clusters | None = None
    silhouettes: dict[int, float] = {}
    for k in tried:
        found = _k_means(prototypes, present, k)
        if found is None:
            break
        centres, labels = found
        score = -1.0
        if 2 <= len(np.unique(labels)) < size:
            score = float(
                silhouette_score(prototypes.reshape(size, -1), labels)
                if apart is None
                else silhouette_score(apart, labels, metric="precomputed")
            )
        if not silhouettes or score > max(silhouettes.values()):
            best = Clusters(centres, labels, silhouettes)
        silhouettes[k] = score
    return best


def nearest_centre(prototype: Float, present: Mask, centres: Float) -> int:
    """Return the centre nearest to a prototype, over the classes that it has.

    Parameters
    ----------
    prototype : ndarray, shape (C, D)
    present : ndarray of bool, shape (C,)
    centres : ndarray, shape (K, C, D)
    """
    gap = (centres - prototype)[:, present]
    return int(np.argmin(np.sum(gap**2, axis=(1, 2))))


def _distances(prototypes: Float, present: Mask) -> Float:
    """Return distances of prototypes over the classes that both have, as if they had all.

    Two clients that share no class are as far apart as two clients are on the whole.
    """
    size, classes, _ = prototypes.shape
    square, shared = np.zeros((size, size)), np.zeros((size, size))
    for y in range(classes):
        block, both = prototypes[:, y], np.outer(present[:, y], present[:, y])
        norms = np.sum(block**2, axis=1)
        square += both * np.maximum(norms[:, None] + norms - 2 * block @ block.T, 0.0)
        shared += both
    mean = float(np.sum(square) / max(1.0, np.sum(shared)))
    scaled = np.where(shared > 0, square / np.maximum(shared, 1), mean)
    distances: Float = np.sqrt(classes * scaled)
    np.fill_diagonal(distances, 0.0)
    return distances


def _k_means(
    prototypes: Float, present: Mask, k: int
) -> tuple[Float, npt.NDArray[np.int64]] | None:
    """Return the centres and the labels; None where fewer than k clients differ."""
    from sklearn.cluster import KMeans

    size, classes, width = prototypes.shape
    known = np.maximum(present.sum(axis=0), 1)[:, None]
    mean = np.where(present[:, :, None], prototypes, 0.0).sum(axis=0) / known
    filled = np.where(present[:, :, None], prototypes, mean)
    labels: npt.NDArray[np.int64] | None = None
    for _ in range(_PASSES):
        rows = filled.reshape(size, -1)
        if len(np.unique(rows, axis=0)) < k:
            return None
        found = KMeans(n_clusters=k, random_state=0).fit(rows)
        centres: Float = found.cluster_centers_.reshape(k, classes, width)
        before, labels = labels, found.labels_.astype(np.int64)
        if present.all() or (before is not None and np.array_equal(before, labels)):
            break
        filled = np.where(present[:, :, None], prototypes, centres[labels])
    assert labels is not None
    return centres, labels
