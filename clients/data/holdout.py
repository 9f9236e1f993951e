"""Splitting rows in two, with the labels of the whole in both parts as far as they go."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]


def stratified_split(
    labels: NDArray[np.integer], count: int, generator: np.random.Generator
) -> tuple[Rows, Rows]:
    """Split positions into a kept and a taken part.

    Systematic sampling along rows that are shuffled, then sorted by label: every label gives its
    exact share, rounded up or down, however rare it is.

    Parameters
    ----------
    labels : array of int, shape (n,)
        Label code of each position.
    count : int
        Number of positions to take, in [0, n].
    generator : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    kept, taken : arrays of int64
        Ascending positions, disjoint, together all of ``0..n-1``; ``len(taken) == count``.
    """
    size = len(labels)
    if not 0 <= count <= size:
        raise ValueError(f"cannot take {count} of {size} rows")
    if size == 0:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    order = generator.permutation(size)
    order = order[np.argsort(labels[order], kind="stable")]
    marks = np.floor(np.arange(size + 1) * count / size + generator.random())
    chosen = np.zeros(size, dtype=bool)
    chosen[order[np.diff(marks) > 0]] = True
    return np.flatnonzero(~chosen).astype(np.int64), np.flatnonzero(chosen).astype(np.int64)


def share_count(size: int, fraction: float) -> int:
    """Return how many of ``size`` rows a share is: rounded, and none of both parts left empty.

    Parameters
    ----------
    size : int
        Number of rows; with fewer than two the share is 0.
    fraction : float
        Share in (0, 1).
    """
    if size < 2:
        return 0
    return min(max(round(size * fraction), 1), size - 1)
