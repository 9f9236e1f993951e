"""Clusters of a table's rows, found once on a machine and kept.

All processes that divide the same data must find the same clusters, whatever their number of
threads; so the first one to ask computes them under a lock and the others read what it wrote.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from models.files import state_folder, write_bytes

if TYPE_CHECKING:
    from clients.data.examples import Table

Codes = npt.NDArray[np.int64]
_RECIPE = 2  # raised whenever the same arguments would give other clusters
_STARTS = 4


def kmeans_codes(embeddings: npt.NDArray[np.floating], clusters: int, seed: int) -> Codes:
    """Return the cluster of each row, shape (rows,), by k-means; the same bits on any thread count.

    Parameters
    ----------
    embeddings : ndarray, shape (rows, width)
    clusters : int
        k; not more than there are different rows are found.
    seed : int
    """
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    values = np.asarray(embeddings, dtype=np.float64)
    different = len(np.unique(values, axis=0)) if len(values) <= clusters**2 else clusters
    model = KMeans(min(clusters, different), n_init=_STARTS, random_state=seed % 2**32)
    with threadpool_limits(limits=1):
        codes: Codes = model.fit_predict(values).astype(np.int64)
    return codes


def cluster_codes(table: Table, args: Mapping[str, Any], seed: int) -> Codes:
    """Return the cluster of each row of a table, shape (rows,).

    Parameters
    ----------
    table : Table
    args : mapping
        ``clusters`` (10), and where the embeddings are from; see
        `clients.data.embeddings.features`.
    seed : int

    Raises
    ------
    DataError, ModelError
        No embeddings can be had of these rows.
    """
    from safetensors.numpy import load, save

    from clients.data.embeddings.features import Source

    clusters = int(args.get("clusters", 10))
    source = Source.of(args)
    facts = [table.key, source.name, clusters, seed, _RECIPE]
    digest = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:24]
    folder = state_folder() / "clusters"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{digest}.safetensors"
    with (folder / f"{digest}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not file.is_file():
            codes = kmeans_codes(source.embeddings(table, seed), clusters, seed)
            write_bytes(file, save({"codes": codes}))
    found: Codes = load(file.read_bytes())["codes"]
    return found
