"""Reading ``clusters.csv`` and ``clusters.json`` back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import is_valid_linkage

from app.report.cells import decimal, table_rows, whole
from app.report.clusters.record import NOWHERE, Clusters, Likeness
from app.report.record import clean
from strategies.transport.roster import natural_key

_LARGEST = 2**31


def read_clusters(run_dir: Path, last: int, concepts: Mapping[str, str]) -> Clusters | None:
    """Read who was where, in rounds that have a line of their own.

    Parameters
    ----------
    run_dir : Path
    last : int
        The last round of the run.
    concepts : mapping of str to str
        Concept, or nothing, of each client that has a row in ``clients.csv``.

    Returns
    -------
    Clusters or None
        None where the run wrote nothing of clusters.

    Raises
    ------
    RunDirectoryError
        ``clusters.csv`` is no table. A drawing that cannot be understood is left out instead.
    """
    path = run_dir / "clusters.csv"
    if not path.is_file():
        return None
    text = path.read_text("utf-8", errors="replace")
    complete = text[: text.rfind("\n") + 1]  # a killed server leaves half a last line
    cleaned: dict[str, str] = {}
    found: dict[str, dict[int, int]] = {}
    for row in table_rows(path, complete):
        name, when, number = row.get("client"), whole(row.get("round")), whole(row.get("cluster"))
        if not name or name[:1] == "@" or when is None or number is None:
            continue
        if 0 <= when <= last and 0 <= number <= _LARGEST:
            client = cleaned.get(name) or cleaned.setdefault(name, clean(name))
            # A resumed run may write a round again: the newest counts.
            found.setdefault(client, {})[when] = number
    if not found:
        return None
    first = min(1, *(when for told in found.values() for when in told))
    end = max(when for told in found.values() for when in told)
    names = sorted({*found, *concepts}, key=natural_key)
    table = np.full((len(names), end - first + 1), NOWHERE, dtype=np.int64)
    for place, name in enumerate(names):
        for when, number in found.get(name, {}).items():
            table[place, when - first] = number
    known = [concepts.get(name, "") for name in names]

    def rank(place: int) -> tuple[bool, int, tuple[object, ...]]:
        final = int(table[place, -1])
        return final == NOWHERE, final, (natural_key(known[place]), place)

    order = sorted(range(len(names)), key=rank)
    clusters = Clusters(
        tuple(names[place] for place in order),
        tuple(known[place] for place in order),
        first,
        table[order],
    )
    return replace(clusters, likeness=_read_likeness(run_dir / "clusters.json"))


def _read_likeness(path: Path) -> Likeness | None:
    try:
        said = json.loads(path.read_text("utf-8"))
        clients = tuple(clean(str(name)) for name in said["clients"])
        similarity = np.array(said.get("similarity") or [], dtype=np.float64)
        linkage = np.array(said.get("linkage") or [], dtype=np.float64)
        cut = decimal(said.get("cut")) or 0.0
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    size = len(clients)
    if similarity.shape != (size, size) or not np.isfinite(similarity).all():
        similarity = np.zeros((0, 0))
    if linkage.shape != (size - 1, 4) or not _is_tree(linkage):
        linkage = np.zeros((0, 4))
    if not similarity.size and not linkage.size:
        return None
    return Likeness(clients, similarity, linkage, cut)


def _is_tree(linkage: NDArray[np.float64]) -> bool:
    """Say whether every row joins two that were there before it, and each is joined once."""
    size = len(linkage) + 1
    joined = linkage[:, :2]
    there = bool((joined.max(axis=1, initial=0) < size + np.arange(size - 1)).all())
    once = np.array_equal(np.sort(joined, axis=None), np.arange(2 * size - 2))
    return there and once and bool(np.isfinite(linkage).all()) and bool(is_valid_linkage(linkage))
