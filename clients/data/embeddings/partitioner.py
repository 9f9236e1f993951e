"""A partitioner of flwr-datasets for data without labels: clusters of embeddings for classes.

"Redefining non-IID Data in Federated Learning for Computer Vision Tasks: Migrating from Labels to
Embeddings for Task-Specific Data Distributions" (Borazjani et al. 2025). With c_k rows in cluster k
of n, in the letters used below:

    q_i ~ Dir(alpha c / n)                what client i's data are made of
    Q^T m = c,  m = pinv(Q^T) c           how much of it each client gets
    M_ik = m_i q_ik                       rows of cluster k that client i gets

A draw counts if every m_i is at least the smallest part. With about as many clients as clusters
hardly any does, and the paper's rejection does not end. So after a number of draws the closest m
that is large enough is taken instead of the exact one (non-negative least squares), and each column
of M is brought to its c_k, so that every row is used once; so it is with fewer clients too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from flwr_datasets.partitioner import Partitioner
from scipy.optimize import nnls

from clients.data.embeddings.clusters import kmeans_codes

if TYPE_CHECKING:
    import datasets

_TINY = 1e-6  # a cluster that the draw gives to nobody
Rows = npt.NDArray[np.int64]


class EmbeddingPartitioner(Partitioner):
    """Spreads clusters of embeddings over clients by a Dirichlet draw.

    Parameters
    ----------
    num_partitions : int
        At least 1.
    partition_by : str
        Column of embeddings (lists of numbers, all of one length), or of clusters (whole numbers).
    alpha : float
        Above 0; a small one makes clients very different. It multiplies the clusters' shares, which
        add up to 1.
    clusters : int
        k of k-means; for a column of clusters it is not used.
    min_partition_size : int
        Fewest rows of a partition.
    tries : int
        Draws of each kind before it gives up.
    seed : int

    Raises
    ------
    ValueError
        At the first partition asked for: no draw gave every partition enough rows.
    """

    def __init__(
        self,
        num_partitions: int,
        partition_by: str = "embedding",
        alpha: float = 0.3,
        clusters: int = 10,
        min_partition_size: int = 2,
        tries: int = 100,
        seed: int = 42,
    ) -> None:
        super().__init__()
        if num_partitions < 1 or not alpha > 0 or clusters < 1 or tries < 1:
            raise ValueError("num_partitions, alpha, clusters and tries must be above 0")
        self._num_partitions = num_partitions
        self._partition_by = partition_by
        self._alpha = alpha
        self._clusters = clusters
        self._smallest = min_partition_size
        self._tries = tries
        self._seed = seed
        self._parts: list[Rows] = []

    @property
    def num_partitions(self) -> int:
        """Number of partitions."""
        return self._num_partitions

    def load_partition(self, partition_id: int) -> datasets.Dataset:
        """Return one partition's rows, in their order in the data set."""
        if not self._parts:
            column = self.dataset.select_columns([self._partition_by]).with_format("numpy")
            values = np.asarray(column[:][self._partition_by])
            codes = values if values.ndim == 1 else kmeans_codes(values, self._clusters, self._seed)
            self._parts = self._divided(codes)
        return self.dataset.select(self._parts[partition_id])

    def _divided(self, codes: npt.NDArray[np.integer]) -> list[Rows]:
        """Return each partition's ascending row numbers."""
        generator = np.random.default_rng(self._seed)
        _, codes = np.unique(codes, return_inverse=True)
        c = np.bincount(codes)
        for attempt in range(2 * self._tries):
            m = self._drawn(c, generator, exact=attempt < self._tries)
            if m is None:
                continue
            # Cutting at rounded sums uses every row once.
            cuts = np.rint(np.cumsum(m, axis=0)).astype(np.int64)[:-1]
            sizes = np.diff(cuts, axis=0, prepend=0, append=c[None]).sum(axis=1)
            if sizes.min() >= self._smallest:
                return self._dealt(codes, cuts, generator)
        raise ValueError(
            f"no draw of {2 * self._tries} with alpha {self._alpha:g} gave each of "
            f"{self._num_partitions} partitions {self._smallest} rows."
        )

    def _drawn(
        self, c: npt.NDArray[np.int64], generator: np.random.Generator, *, exact: bool
    ) -> npt.NDArray[np.float64] | None:
        """Return M, shape (partitions, clusters), or None for a draw that does not count."""
        concentration = np.maximum(self._alpha * c / c.sum(), 1e-8)
        q = generator.dirichlet(concentration, size=self._num_partitions)
        if not np.isfinite(q).all():
            return None
        if exact:
            m = np.linalg.pinv(q.T) @ c
        else:
            least = np.full(self._num_partitions, float(self._smallest))
            m = least + nnls(q.T, c - q.T @ least)[0]
        if m.min() < self._smallest:
            return None
        product = m[:, None] * q
        reached = product.sum(axis=0)
        if not (reached > _TINY * c).all():
            return None
        whole: npt.NDArray[np.float64] = product * (c / reached)
        return whole

    def _dealt(
        self, codes: npt.NDArray[np.integer], cuts: Rows, generator: np.random.Generator
    ) -> list[Rows]:
        parts: list[list[Rows]] = [[] for _ in range(self._num_partitions)]
        for k in range(cuts.shape[1]):
            rows = generator.permutation(np.flatnonzero(codes == k))
            for part, share in zip(parts, np.split(rows, cuts[:, k]), strict=True):
                part.append(share)
        return [np.sort(np.concatenate(part)) for part in parts]
