"""A real site: a node's own folder, the server's test set, a public data set."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from clients.data.assignment import FEWEST_ROWS
from clients.data.examples import ClientData, Examples, Table
from clients.data.holdout import Rows, share_count, stratified_split
from clients.data.reading import make_table, read_path
from clients.data.sources import absolute_path
from clients.data.spec import DataSpec
from models.errors import DataError
from models.randomness import derive_generator


def load_site(spec: DataSpec, data_path: str | Path, client_id: str) -> ClientData:
    """Load the data of one node: no partitioning happens.

    A test (else validation) split is the client's test part; without one, ``test_fraction`` of the
    rows is, chosen by the partition seed and the client's id. A simulation over the same folders
    (``partition = 'folders'``) gives the same rows.

    Parameters
    ----------
    spec : DataSpec
        Column names, test fraction, seed and, if fixed, labels.
    data_path : str or Path
        Absolute path of a file or folder.
    client_id : str
        Stable id of the client.

    Raises
    ------
    DataError
        If the data cannot be used; names the client and the column, label or file.
    """
    owner = f"client '{client_id}'"
    path = absolute_path(str(data_path), owner, "data-path")
    splits = read_path(path, owner)
    if "train" not in splits:
        raise DataError(
            f"{owner}: {path} has no train split, only {', '.join(sorted(splits))}; name the "
            "training file or subfolder 'train'"
        )
    train = make_table(splits["train"], spec, owner, "train", own=True)
    held_out = next((name for name in ("test", "validation") if name in splits), None)
    if held_out is None:
        rows = np.arange(len(train), dtype=np.int64)
        data = split_client(train, rows, client_id, spec)
    else:
        test = make_table(splits[held_out], spec, owner, held_out, own=True)
        if test.columns.kind != train.columns.kind:
            raise DataError(
                f"{owner}: the train split holds {train.columns}, the {held_out} split "
                f"{test.columns}; both splits need the same columns"
            )
        data = ClientData(client_id, whole(train, owner), whole(test, owner))
    if spec.labels:
        for part in (data.train, data.test):
            part.label_ids(spec.labels)
    return data


def load_path_examples(
    spec: DataSpec, text: str, setting: str, owner: str, prefer: tuple[str, ...]
) -> Examples:
    """Load one whole split of a path.

    Parameters
    ----------
    spec : DataSpec
        Column names and, if fixed, labels.
    text : str
        Absolute path of a file or folder.
    setting : str
        The setting that gave it, for messages.
    owner : str
        Whose the examples are.
    prefer : tuple of str
        Split names; the first that is there is taken, else any.

    Raises
    ------
    DataError
        If the data cannot be used.
    """
    path = absolute_path(text, owner, setting)
    splits = read_path(path, owner)
    name = next(split for split in (*prefer, *sorted(splits)) if split in splits)
    examples = whole(make_table(splits[name], spec, owner, name), owner)
    if spec.labels:
        examples.label_ids(spec.labels)
    return examples


def split_client(table: Table, rows: Rows, client_id: str, spec: DataSpec) -> ClientData:
    """Divide a client's rows into its train and test part.

    Parameters
    ----------
    table : Table
        Where the rows lie.
    rows : array of int64
        The client's rows, at least two.
    client_id : str
        Stable id; with the partition seed it decides which rows are for testing.
    spec : DataSpec
        Seed and test fraction.

    Raises
    ------
    DataError
        If there are fewer than two rows.
    """
    owner = f"client '{client_id}'"
    if len(rows) < FEWEST_ROWS:
        raise DataError(
            f"{owner}: only {len(rows)} of the {FEWEST_ROWS} examples it needs, one to train and "
            "one to test; give it more rows, or a test split of its own"
        )
    generator = derive_generator(spec.partition_seed, "client-test", client_id)
    count = share_count(len(rows), spec.test_fraction)
    kept, taken = stratified_split(table.label_codes[rows], count, generator)
    return ClientData(
        client_id, Examples(table, rows[kept], owner), Examples(table, rows[taken], owner)
    )


def whole(table: Table, owner: str) -> Examples:
    """Return all rows of a table."""
    return Examples(table, np.arange(len(table), dtype=np.int64), owner)
