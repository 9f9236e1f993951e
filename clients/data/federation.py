"""One data set divided over clients: what a simulation trains on."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clients.data.assignment import assign_by_value, assign_rows, divided_by
from clients.data.columns import Columns, require_column
from clients.data.drift import Drift, make_drift, validate_drift
from clients.data.examples import ClientData, Examples, counts_by_label
from clients.data.holdout import Rows, share_count, stratified_split
from clients.data.labels import natural_key, order_labels, read_groups
from clients.data.partitions import validate_partition
from clients.data.pooling import pool
from clients.data.reading import make_table, read_dataset
from clients.data.shifts import Concept, concepts
from clients.data.site import (
    load_path_examples,
    load_site,
    split_client,
    whole,
)
from clients.data.sources import absolute_path, client_folders, identity
from clients.data.spec import DataSpec, public_share
from models.errors import ConfigurationError, DataError, nearest
from models.randomness import derive_generator

_SERVER = "the server's test set"
_PUBLIC = "the public data"


@dataclass(frozen=True, eq=False)
class Federation:
    """All clients of a simulation, and what the server holds.

    Attributes
    ----------
    clients : mapping of str to ClientData
        In natural order of their ids.
    label_names : tuple of str
        Labels in the order of the model's outputs.
    columns : Columns
        What the input is (of the first client, should folders differ in names).
    server_test : Examples or None
        The server's test set; its rows belong to no client.
    public : Examples or None
        Rows withheld from all clients, if the spec needs them.
    drift : Drift or None
        How the clients' data change from slot to slot.
    """

    clients: Mapping[str, ClientData]
    label_names: tuple[str, ...]
    columns: Columns
    server_test: Examples | None
    public: Examples | None
    drift: Drift | None = None

    @property
    def client_ids(self) -> tuple[str, ...]:
        """Ids in natural order: ``client-2`` before ``client-10``."""
        return tuple(self.clients)

    def client(self, client_id: str, slot: int = 0) -> ClientData:
        """Return one client's data as they are in a slot.

        Raises
        ------
        DataError
            If there is no such client.
        """
        if client_id not in self.clients:
            raise DataError(
                f"no client '{client_id}' in this federation; {nearest(client_id, self.clients)}"
            )
        data = self.clients[client_id]
        return data if self.drift is None else self.drift.seen(data, slot)

    def most_examples(self, client_id: str) -> int:
        """Return the most training examples that a client has in any slot."""
        whole = len(self.clients[client_id].train)
        return whole if self.drift is None else self.drift.most(whole)

    def pooled(self, slot: int = 0) -> ClientData:
        """Return all clients' data as one client ``@pooled``, each row as its client sees it."""
        return pool(tuple(self.client(client, slot) for client in self.clients))


def load_federation(spec: DataSpec) -> Federation:
    """Divide the data set of a spec over clients.

    Every row belongs to the server's test set, to the public data, to one client, or (where a
    partition does not use all rows) to nobody. The last results are kept, until files change.

    Parameters
    ----------
    spec : DataSpec
        ``num_clients`` is not used by ``natural-id`` and ``folders``.

    Raises
    ------
    ConfigurationError
        If partition, arguments, test fraction or public share are wrong; lists all errors.
    DataError
        If the data set cannot be read or divided; names the client and column or label.
    """
    errors = validate_partition(spec.partition, spec.arguments)
    errors += validate_drift(spec.drift, dict(spec.drift_args))
    if not 0 < spec.test_fraction < 1:
        errors.append(
            f"test-fraction = {spec.test_fraction} is not allowed; allowed: between 0 "
            "and 1, both excluded"
        )
    try:
        public_share(spec.public_data)
    except ConfigurationError as error:
        errors.extend(error.errors)
    if errors:
        raise ConfigurationError(errors)
    paths = [Path(text) for text in (spec.dataset, spec.server_data_path)]
    known = [identity(path) for path in paths if path.is_absolute() and path.exists()]
    return _load(spec, tuple(known))


@functools.lru_cache(maxsize=2)
def _load(spec: DataSpec, identities: tuple[str, ...]) -> Federation:
    """Build a federation; the identities of its files only tell cached results apart."""
    server = load_server_path(spec)
    if spec.partition == "folders":
        path = absolute_path(spec.dataset, "partition 'folders'", "dataset")
        clients = {
            name: load_site(spec, folder, name) for name, folder in client_folders(path).items()
        }
        return _finish(spec, clients, server, None)
    owner = f"data set '{spec.dataset}'"
    splits = read_dataset(spec)
    if "train" not in splits:
        raise DataError(
            f"{owner} has no train split, only {', '.join(splits)}; a local folder "
            "names it by file or subfolder: train.parquet, train/"
        )
    table = make_table(splits["train"], spec, owner, "train")
    rows = np.arange(len(table), dtype=np.int64)
    held_out = next((name for name in ("test", "validation") if name in splits), None)
    if server is None and held_out is not None:
        server = whole(make_table(splits[held_out], spec, owner, held_out), _SERVER)
    elif server is None:
        count = share_count(len(rows), spec.test_fraction)
        generator = derive_generator(spec.partition_seed, "server-test")
        rows, taken = stratified_split(table.label_codes, count, generator)
        server = Examples(table, taken, _SERVER)
    public = None
    share = public_share(spec.public_data)
    if spec.needs_public and share is not None:
        generator = derive_generator(spec.partition_seed, "public")
        kept, taken = stratified_split(
            table.label_codes[rows], share_count(len(rows), share), generator
        )
        public, rows = Examples(table, rows[taken], _PUBLIC), rows[kept]
    assigned: Mapping[str, Rows]
    if spec.partition == "natural-id":
        column = str(spec.arguments["column"])
        require_column(table.dataset, column, "column in partition-args", owner)
        values = read_groups(table.dataset, column, owner)[rows]
        assigned = assign_by_value(values, spec.arguments)
    else:
        codes = divided_by(table, spec)[rows]
        assigned = assign_rows(
            spec.partition, spec.arguments, codes, spec.num_clients, spec.partition_seed
        )
    clients = {
        client: split_client(table, rows[part], client, spec) for client, part in assigned.items()
    }
    return _finish(spec, clients, server, public)


def _finish(
    spec: DataSpec,
    clients: Mapping[str, ClientData],
    server: Examples | None,
    public: Examples | None,
) -> Federation:
    """Check the labels, order the clients and put them into their concepts."""
    parts = [part for data in clients.values() for part in (data.train, data.test)]
    parts += [part for part in (server, public) if part is not None]
    first = parts[0].columns
    for part in parts:
        if part.columns.kind != first.kind:
            raise DataError(
                f"{part.owner}: {part.columns}, but {parts[0].owner}: {first}; all data of a run "
                "must be of one kind"
            )
        if spec.labels:
            part.label_ids(spec.labels)
    tables = {part.table.key: part.table for part in parts}
    names = spec.labels or order_labels(
        name for table in tables.values() for name in table.label_names
    )
    shift = concepts(spec.arguments, first, names, spec.partition_seed)
    ordered = sorted(clients, key=natural_key)
    return Federation(
        {
            client: _in_concept(clients[client], shift[number % len(shift)], spec.partition_seed)
            for number, client in enumerate(ordered)
        },
        names,
        clients[ordered[0]].train.columns,
        server,
        public,
        make_drift(spec, names, first.kind, tuple(ordered)),
    )


def _in_concept(data: ClientData, concept: Concept, seed: int) -> ClientData:
    train = concept.seen(data.train, seed, data.client_id, "train")
    test = concept.seen(data.test, seed, data.client_id, "test")
    return ClientData(data.client_id, train, test, concept.number)


def load_server_path(spec: DataSpec) -> Examples | None:
    """Load the split (test before validation before train) that ``server-data-path`` gives."""
    if not spec.server_data_path:
        return None
    order = ("test", "validation", "train")
    return load_path_examples(spec, spec.server_data_path, "server-data-path", _SERVER, order)


def load_server_test(spec: DataSpec) -> Examples | None:
    """Load the server's global test set.

    Returns
    -------
    Examples or None
        What ``server-data-path`` gives; else the federation's, which is the data set's own test
        split or a held-out share; None where clients have folders of their own.

    Raises
    ------
    DataError, ConfigurationError
        As `load_federation`.
    """
    if spec.server_data_path:
        return load_server_path(spec)
    return load_federation(spec).server_test


def load_public(spec: DataSpec) -> Examples | None:
    """Load the public data.

    Returns
    -------
    Examples or None
        What ``public-data`` gives if it is a path (its train split); the share withheld from the
        clients if the spec needs one; else None.

    Raises
    ------
    DataError, ConfigurationError
        As `load_federation`.
    """
    if public_share(spec.public_data) is not None:
        return load_federation(spec).public if spec.needs_public else None
    if not spec.public_data:
        return None
    return load_path_examples(spec, spec.public_data, "public-data", _PUBLIC, ("train",))


def partition_table(federation: Federation) -> list[dict[str, object]]:
    """Return one row a client, for tables and plots.

    Returns
    -------
    list of dict
        ``client``, ``train``, ``test`` (numbers of examples), ``concept`` (int or None), and
        ``labels``: how many rows of both parts have each of the federation's labels.
    """
    rows: list[dict[str, object]] = []
    for client in federation.clients:
        data = federation.client(client)
        counts = counts_by_label(data)
        rows.append(
            {
                "client": client,
                "train": len(data.train),
                "test": len(data.test),
                "concept": data.concept,
                "labels": {name: counts.get(name, 0) for name in federation.label_names},
            }
        )
    return rows
