"""Names of labels and groups: read once from a column, in an order every site agrees on."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from models.errors import DataError
from models.fairness.counts import UNKNOWN

if TYPE_CHECKING:
    import datasets

_INTEGER = re.compile(r"[+-]?\d+")


def order_labels(names: Iterable[str]) -> tuple[str, ...]:
    """Return the distinct names sorted: by value if all are integers, else lexicographically.

    Sites and server sort alike, so the same set of names always gives the same label ids.
    """
    distinct = set(names)
    if all(_INTEGER.fullmatch(name) for name in distinct):
        return tuple(sorted(distinct, key=lambda name: (int(name), name)))
    return tuple(sorted(distinct))


def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """Return a sort key under which ``client-2`` comes before ``client-10``."""
    return tuple(
        (0, int(part), part) if part.isdecimal() else (1, 0, part)
        for part in re.split(r"(\d+)", name)
        if part
    )


def read_labels(
    dataset: datasets.Dataset, column: str, owner: str
) -> tuple[NDArray[np.int32], tuple[str, ...]]:
    """Read a label column as codes and names.

    Parameters
    ----------
    dataset : datasets.Dataset
        A whole split.
    column : str
        An existing column.
    owner : str
        Who holds the data, for messages.

    Returns
    -------
    codes : array of int32, shape (rows,)
    names : tuple of str
        Name of each code, only those that occur, ordered by `order_labels`.

    Raises
    ------
    DataError
        If the column holds something other than plain values, or any value is empty.
    """
    codes, names = _read_names(dataset, column, owner)
    empty = np.flatnonzero(codes < 0)
    if len(empty):
        rows = ", ".join(str(row) for row in empty[:3]) + (", ..." if len(empty) > 3 else "")
        raise DataError(
            f"{owner}: label column '{column}' is empty in {len(empty)} of {len(codes)} rows "
            f"(first: row {rows}); give every row a label or remove those rows"
        )
    return codes, names


def read_groups(dataset: datasets.Dataset, column: str, owner: str) -> NDArray[np.str_]:
    """Read a column of group or client names, shape (rows,); empty values are ``"unknown"``."""
    codes, names = _read_names(dataset, column, owner)
    return np.asarray([*names, UNKNOWN], dtype=np.str_)[codes]


def _read_names(
    dataset: datasets.Dataset, column: str, owner: str
) -> tuple[NDArray[np.int32], tuple[str, ...]]:
    """Return codes (-1 where empty) and the ordered names that occur."""
    import pyarrow as pa

    array = dataset.select_columns([column]).with_format("arrow")[:].column(column)
    kind = array.type
    plain = (
        pa.types.is_integer,
        pa.types.is_floating,
        pa.types.is_boolean,
        pa.types.is_string,
        pa.types.is_large_string,
        pa.types.is_null,
    )
    if not any(check(kind) for check in plain):
        raise DataError(
            f"{owner}: column '{column}' holds {kind}, not one plain value a row; "
            "choose a column of text, integers or booleans"
        )
    encoded = array.combine_chunks().dictionary_encode()
    raw = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    class_names = getattr(dataset.features[column], "names", None)
    found = [_name(value, class_names) for value in encoded.dictionary.to_pylist()]
    names = order_labels(name for name in found if name)
    position = {name: code for code, name in enumerate(names)}
    lookup = np.asarray([*(position.get(name, -1) for name in found), -1], dtype=np.int32)
    return lookup[raw], names


def _name(value: Any, class_names: list[str] | None) -> str:
    """Return a value's name; empty for a missing one."""
    if value is None or value != value:
        return ""
    if class_names is not None:
        # Hugging Face marks unlabelled rows by -1.
        return class_names[int(value)] if value >= 0 else ""
    if isinstance(value, float) and value.is_integer():
        # One missing cell turns a CSV column of integers into floats: 3 and 3.0 are one label.
        return str(int(value))
    return str(value).strip()
