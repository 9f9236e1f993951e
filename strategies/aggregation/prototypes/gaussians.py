"""Gaussians of classes, pooled from the clients' statistics without a feature leaving them.

Client k sends of class c the count n_k, the mean mu_k and the unbiased covariance Sigma_k of its
features. Over all clients, with N = sum_k n_k,

    mu    = sum_k n_k mu_k / N
    Sigma = sum_k (n_k - 1) / (N - 1) Sigma_k + sum_k n_k / (N - 1) mu_k mu_k^T
            - N / (N - 1) mu mu^T

are exactly the mean and the covariance of all features in one place.
"""

from __future__ import annotations

from typing import Self

import numpy as np
import numpy.typing as npt

from models.prototypes.tables import Table

Array = npt.NDArray[np.float64]


def packed(square: Table) -> Table:
    """Return the upper triangles of symmetric matrices (..., D, D), (..., D (D + 1) / 2)."""
    rows, columns = np.triu_indices(square.shape[-1])
    upper: Table = square[..., rows, columns]
    return upper


def unpacked(upper: Table, features: int) -> Array:
    """Return the symmetric matrices that `packed` was given."""
    rows, columns = np.triu_indices(features)
    square = np.zeros((*upper.shape[:-1], features, features))
    square[..., rows, columns] = upper
    square[..., columns, rows] = upper
    return square


class PooledGaussians:
    """The pooled statistics of each class, in progress.

    Parameters
    ----------
    classes, features : int
        C and D.

    Attributes
    ----------
    counts : ndarray, shape (C,)
        N.
    """

    def __init__(self, classes: int, features: int) -> None:
        self.counts = np.zeros(classes)
        self._sums = np.zeros((classes, features))
        self._moments = np.zeros((classes, features, features))

    def add(self, counts: Table, means: Table, covariances: Table) -> None:
        """Add one client's statistics, shapes (C,), (C, D) and (C, D, D).

        A class of one example has no covariance, and counts by its mean alone.
        """
        n, mu = np.maximum(counts.astype(np.float64), 0.0), means.astype(np.float64)
        self.counts += n
        self._sums += n[:, None] * mu
        within = np.maximum(n - 1, 0)[:, None, None] * covariances
        self._moments += within + n[:, None, None] * mu[:, :, None] * mu[:, None, :]

    def merge(self, other: Self) -> None:
        """Add another stream."""
        self.counts += other.counts
        self._sums += other._sums
        self._moments += other._moments

    def means(self) -> Array:
        """Return mu, shape (C, D); zeros for classes that nobody has."""
        mu: Array = self._sums / np.maximum(self.counts, 1)[:, None]
        return mu

    def covariances(self) -> Array:
        """Return Sigma, shape (C, D, D); zeros for classes of fewer than two examples."""
        mu, n = self.means(), self.counts[:, None, None]
        around = self._moments - n * mu[:, :, None] * mu[:, None, :]
        return np.where(n > 1, around / np.maximum(n - 1, 1), 0.0)


def directions(covariance: Array) -> tuple[Array, Array]:
    """Return the eigenvalues of a covariance, largest first and none below 0, and its vectors.

    Returns
    -------
    values : ndarray, shape (D,)
    vectors : ndarray, shape (D, D)
        One a row.
    """
    values, vectors = np.linalg.eigh(covariance)
    return np.maximum(values[::-1], 0.0), vectors[:, ::-1].T


def drawn(
    means: Array, covariances: Array, present: npt.NDArray[np.bool_], count: int,
    generator: np.random.Generator,
) -> tuple[Array, npt.NDArray[np.int64]]:  # fmt: skip
    """Return `count` features of each class that is present, from N(mu, Sigma), and their classes.

    Parameters
    ----------
    means, covariances : ndarray, shapes (C, D) and (C, D, D)
    present : ndarray of bool, shape (C,)
    count : int
    generator : numpy.random.Generator
    """
    features, classes = [], np.flatnonzero(present)
    for c in classes:
        values, vectors = directions(covariances[c])
        noise = generator.standard_normal((count, len(values)))
        features.append(means[c] + noise * np.sqrt(values) @ vectors)
    return np.concatenate(features), np.repeat(classes, count)
