"""All clients' data in one place: what a run without federation would train on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clients.data.columns import Columns
from clients.data.examples import ClientData, Examples, Table, rotated
from clients.data.holdout import Rows
from clients.data.labels import order_labels
from clients.data.reading import quiet
from models.errors import DataError

if TYPE_CHECKING:
    import datasets

POOLED = "@pooled"


def pool(clients: Sequence[ClientData]) -> ClientData:
    """Join clients into one called ``@pooled``; each row stays as its own client sees it.

    Parameters
    ----------
    clients : sequence of ClientData
        At least one.
    """
    owner = "the pooled data"
    parts = [*(client.train for client in clients), *(client.test for client in clients)]
    first = parts[0]
    if any(part.table is not first.table for part in parts):
        table, parts = _concatenated(parts)
    else:
        table = first.table
    if any(part.rotation or part.angle or part.relabel for part in parts):
        table = _as_seen(table, parts)
    count = len(clients)
    train, test = (
        Examples(table, np.concatenate([part.indices for part in half]), owner)
        for half in (parts[:count], parts[count:])
    )
    return ClientData(POOLED, train, test)


def _concatenated(parts: Sequence[Examples]) -> tuple[Table, list[Examples]]:
    """Return one table over several, and the parts as rows of it."""
    import datasets

    tables = list({id(part.table): part.table for part in parts}.values())
    columns = tables[0].columns
    names = order_labels(label for table in tables for label in table.label_names)
    position = {label: code for code, label in enumerate(names)}
    codes = [
        np.asarray([position[label] for label in table.label_names], np.int32)[table.label_codes]
        if names
        else table.label_codes
        for table in tables
    ]
    inputs = [_inputs(table, columns) for table in tables]
    try:
        joined = datasets.concatenate_datasets(inputs)
    except ValueError as error:
        raise DataError(
            f"the clients' data cannot be pooled: {columns} differs in type between them ({error})"
        ) from error
    all_codes = np.concatenate(codes)
    if names:
        seen = np.asarray(names, dtype=object)[all_codes].tolist()
        joined = joined.add_column(columns.label, seen)
    groups = {
        column: np.concatenate([table.groups[column] for table in tables])
        for column in columns.groups
    }
    start, offsets = 0, {}
    for table in tables:
        offsets[id(table)] = start
        start += len(table)
    key = "pooled:" + "+".join(table.key for table in tables)
    whole = Table(joined, columns, key, all_codes, names, groups)
    moved = [
        replace(part, table=whole, indices=part.indices + offsets[id(part.table)]) for part in parts
    ]
    return whole, moved


def _inputs(table: Table, columns: Columns) -> datasets.Dataset:
    """Return a table's inputs under the names that another table has for them."""
    import datasets

    if columns.kind != "table":
        own = table.columns.inputs
        if len(own) != len(columns.inputs):
            raise DataError(
                f"the clients' data cannot be pooled: some have {table.columns}, others {columns}; "
                "name columns that all have"
            )
        renamed = dict(zip(own, columns.inputs, strict=True))
        return table.dataset.select_columns(list(own)).rename_columns(renamed)
    lacking = [name for name in columns.inputs if name not in table.dataset.column_names]
    if lacking:
        raise DataError(
            f"the clients' data cannot be pooled: some have no column '{lacking[0]}'; name those "
            "that all have in table-columns"
        )
    chosen = table.dataset.select_columns(list(columns.inputs))
    # One missing cell turns a CSV column of integers into floats.
    wide = {
        name: datasets.Value("float64") if "int" in str(feature.dtype) else feature
        for name, feature in chosen.features.items()
        if not isinstance(feature, datasets.ClassLabel)
    }
    return chosen.cast(datasets.Features({**chosen.features, **wide}))


def _as_seen(table: Table, views: Sequence[Examples]) -> Table:
    """Return the table with the rotations and labels of its rows' holders written into it."""
    seen = [view.label_names_of_rows() for view in views]
    names = order_labels([*table.label_names, *(label for part in seen for label in part)])
    position = {label: code for code, label in enumerate(names)}
    codes = np.asarray([position[label] for label in table.label_names], np.int32)[
        table.label_codes
    ]
    turns = np.zeros(len(table), np.int64)
    angles = np.zeros(len(table), np.int64)
    for view, labels in zip(views, seen, strict=True):
        codes[view.indices] = [position[label] for label in labels]
        turns[view.indices] = view.rotation
        angles[view.indices] = view.angle
    dataset = table.dataset
    if turns.any() or angles.any():
        dataset = _turned(dataset, table.columns.input, turns, angles)
    return replace(
        table,
        dataset=dataset,
        key=f"{table.key}:seen:{_digest(turns, angles, codes)}",
        label_codes=codes,
        label_names=names,
    )


def _turned(dataset: datasets.Dataset, column: str, turns: Rows, angles: Rows) -> datasets.Dataset:
    def turn(batch: dict[str, list[Any]], rows: list[int]) -> dict[str, list[Any]]:
        images = batch[column]
        return {
            column: [
                rotated(image, int(turns[row]), int(angles[row]))
                for image, row in zip(images, rows, strict=True)
            ]
        }

    with quiet():
        return dataset.map(turn, with_indices=True, batched=True)


def _digest(*arrays: NDArray[np.integer]) -> str:
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()[:16]
