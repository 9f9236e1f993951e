"""Dividing rows over clients, by the partitioners of flwr-datasets."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clients.data.holdout import Rows
from clients.data.labels import natural_key
from models.errors import DataError
from models.randomness import derive_generator, derive_seed

if TYPE_CHECKING:
    from flwr_datasets.partitioner import Partitioner

    from clients.data.examples import Table
    from clients.data.spec import DataSpec

_LOG = logging.getLogger(__name__)
_UNSAFE = re.compile(r"[^\w.-]+")
FEWEST_ROWS = 2


def assign_rows(
    name: str,
    args: Mapping[str, object],
    codes: NDArray[np.generic],
    num_clients: int,
    seed: int,
) -> dict[str, Rows]:
    """Divide rows over ``num_clients`` clients called ``client-0000``, ``client-0001``, ...

    Parameters
    ----------
    name : str
        A partition other than ``natural-id`` and ``folders``, checked by `validate_partition`.
    args : mapping
        Its arguments.
    codes : array, shape (rows,)
        What the rows are divided by: the code of each one's label or cluster, or its length.
    num_clients : int
        Number of clients, at least 1.
    seed : int
        The partition seed.

    Returns
    -------
    dict of str to array of int64
        Ascending row positions, disjoint, by client id in order. Pathological partitions and
        shards may leave some rows to nobody.

    Raises
    ------
    DataError
        If the partition cannot be made, or leaves a client with fewer than two rows.
    """
    import datasets

    rows = len(codes)
    where = f"partition '{name}' of {rows} rows over {num_clients} clients"
    if num_clients < 1 or num_clients * FEWEST_ROWS > rows:
        raise DataError(
            f"{where} is impossible: each client needs {FEWEST_ROWS}; "
            + (
                f"set num-clients to 1 to {rows // FEWEST_ROWS}"
                if rows >= FEWEST_ROWS
                else "give the data set more rows"
            )
        )
    partitioner = _partitioner(name, args, num_clients, derive_seed(seed, "partition", name))
    # Several partitioners cut consecutive rows, and files are often sorted.
    order = derive_generator(seed, "partition-order").permutation(rows)
    # Labels that held-out rows took away would leave gaps that partitioners take for classes.
    by = codes[order]
    if name not in ("length", "embeddings"):
        _, by = np.unique(by, return_inverse=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        partitioner.dataset = datasets.Dataset.from_dict({"row": order, "by": by})
        try:
            parts = [
                np.sort(
                    np.asarray(
                        partitioner.load_partition(number).with_format("numpy")[:]["row"], np.int64
                    )
                )
                for number in range(num_clients)
            ]
        except ValueError as error:
            reason = " ".join(str(error).split())
            raise DataError(f"{where} failed: {reason} {_advice(name)}") from error
    assigned = {f"client-{number:04d}": part for number, part in enumerate(parts)}
    used = sum(len(part) for part in parts)
    if used < rows:
        _LOG.warning("%s leaves %d rows to no client", where, rows - used)
    refuse_small(assigned, f"partition '{name}'", _advice(name))
    return assigned


def divided_by(table: Table, spec: DataSpec) -> NDArray[np.generic]:
    """Return what the rows of a table are divided by, shape (rows,): label, length or cluster."""
    if spec.partition == "length":
        from clients.data.embeddings.features import lengths

        return lengths(table)
    if spec.partition == "embeddings":
        from clients.data.embeddings.clusters import cluster_codes

        return cluster_codes(table, spec.arguments, derive_seed(spec.partition_seed, "clusters"))
    return table.label_codes


def assign_by_value(values: NDArray[np.str_], args: Mapping[str, object]) -> dict[str, Rows]:
    """Give each value of a column its own client, called ``<column>-<value>``.

    Numbers are padded with zeros to equal width; characters that do not belong into a file name
    become ``_``.

    Parameters
    ----------
    values : array of str, shape (rows,)
        Value of each row.
    args : mapping
        ``column`` and, optional, ``min-size``: values with fewer rows are left out.

    Raises
    ------
    DataError
        If a client would have fewer than two rows; names clients and column.
    """
    column = str(args["column"])
    # np.unique is the whole partition: the library's own one loops over rows in Python.
    names, codes = np.unique(values, return_inverse=True)
    order = np.argsort(codes, kind="stable")
    parts = np.split(order, np.cumsum(np.bincount(codes))[:-1])
    width = max(len(name) for name in names) if all(n.isdecimal() for n in names) else 0
    found: dict[str, Rows] = {}
    for name, part in zip(names, parts, strict=True):
        plain = f"{column}-{_UNSAFE.sub('_', str(name).zfill(width))}"
        client, copy = plain, 2
        while client in found:
            client, copy = f"{plain}-{copy}", copy + 1
        found[client] = part.astype(np.int64)
    smallest = args.get("min-size")
    if isinstance(smallest, int):
        large = {client: part for client, part in found.items() if len(part) >= smallest}
        if len(large) < len(found):
            _LOG.warning(
                "partition 'natural-id' leaves out %d of %d values of '%s' with fewer than %d rows",
                len(found) - len(large),
                len(found),
                column,
                smallest,
            )
        if not large:
            raise DataError(
                f"partition 'natural-id': no value of column '{column}' has "
                f"min-size = {smallest} rows; lower min-size"
            )
        found = large
    refuse_small(found, f"partition 'natural-id' by column '{column}'", _advice("natural-id"))
    return {client: found[client] for client in sorted(found, key=natural_key)}


def refuse_small(assigned: Mapping[str, Rows], where: str, advice: str) -> None:
    """Raise a `DataError` that names the clients with fewer than two rows, if there are any."""
    small = [client for client, part in assigned.items() if len(part) < FEWEST_ROWS]
    if small:
        named = ", ".join(f"{client} ({len(assigned[client])})" for client in small[:5])
        more = f" and {len(small) - 5} more" if len(small) > 5 else ""
        raise DataError(
            f"{where} leaves {len(small)} of {len(assigned)} clients with fewer than "
            f"{FEWEST_ROWS} examples: {named}{more}; each needs one to train and one to test. "
            f"{advice}"
        )


def _partitioner(name: str, args: Mapping[str, Any], clients: int, seed: int) -> Partitioner:
    from flwr_datasets import partitioner as library

    match name:
        case "iid":
            return library.IidPartitioner(clients)
        case "dirichlet":
            return library.DirichletPartitioner(
                clients,
                "by",
                alpha=float(args.get("alpha", 0.3)),
                min_partition_size=args.get("min-size", FEWEST_ROWS),
                self_balancing=args.get("balanced", False),
                seed=seed,
            )
        case "pathological":
            return library.PathologicalPartitioner(
                clients,
                "by",
                args.get("classes-per-client", 2),
                class_assignment_mode="first-deterministic",
                seed=seed,
            )
        case "shards":
            size = args.get("shard-size")
            count = args.get("shards-per-client", 2 if size is None else None)
            return library.ShardPartitioner(
                clients, "by", count, size, keep_incomplete_shard=count is None, seed=seed
            )
        case "length":
            return library.ContinuousPartitioner(
                clients, "by", float(args.get("strictness", 1.0)), seed=seed
            )
        case "embeddings":
            from clients.data.embeddings.partitioner import EmbeddingPartitioner

            return EmbeddingPartitioner(
                clients,
                "by",
                alpha=float(args.get("alpha", 1.0)),
                min_partition_size=args.get("min-size", FEWEST_ROWS),
                seed=seed,
            )
        case "linear":
            return library.LinearPartitioner(clients)
        case "square":
            return library.SquarePartitioner(clients)
        case "exponential":
            return library.ExponentialPartitioner(clients)
    raise ValueError(f"partition '{name}' divides no rows")


def _advice(name: str) -> str:
    return {
        "dirichlet": "Raise alpha, or lower num-clients or min-size",
        "embeddings": "Raise alpha, or lower num-clients, clusters or min-size",
        "length": "Choose another partition, or set strictness = 0",
        "pathological": "Lower num-clients or classes-per-client",
        "shards": "Lower num-clients, shards-per-client or shard-size",
        "natural-id": "Set min-size in partition-args to leave such values out",
    }.get(name, "Lower num-clients")
