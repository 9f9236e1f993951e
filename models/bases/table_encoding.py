"""Rows of a table as token numbers: one token a column, after one for the whole row.

A number becomes the interval it falls into, a name its place in a list, and what is missing or was
never seen the column's own token for that. Intervals and lists are learned from public rows and are
part of the base's configuration (``table_columns``), so that no client's values go into them, and
everybody who has the base encodes alike. Each column has tokens of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.errors import ModelError
from models.tasks import read_config

CONFIG_KEY = "table_columns"
MOST_INTERVALS, MOST_NAMES = 32, 256
ROWS_OF_AN_INTERVAL = 8  # at least, on average: what few rows say of an interval is chance
_RESERVED = 2  # padding, which never occurs, and the token of the whole row
_ROW = 1


@dataclass(frozen=True)
class Column:
    """How a column's values become numbers.

    Attributes
    ----------
    name : str
    edges : tuple of float, or None
        Inner bounds of the intervals, ascending; a value on a bound belongs above it. None: names.
    names : tuple of str
        Known names; none where there are edges.
    """

    name: str
    edges: tuple[float, ...] | None
    names: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Number of tokens, that for a missing or unknown value included."""
        return 1 + (len(self.names) if self.edges is None else len(self.edges) + 1)

    def numbers(self, values: Sequence[Any]) -> npt.NDArray[np.int64]:
        """Return each value's number, shape (n,); 0 is missing or unknown."""
        if self.edges is None:
            places = {name: place for place, name in enumerate(self.names, 1)}
            return np.array([places.get(_word(value), 0) for value in values], dtype=np.int64)
        found = np.array([_number(value) for value in values], dtype=np.float64)
        places_of = 1 + np.searchsorted(self.edges, found, side="right")
        return np.where(np.isnan(found), 0, places_of).astype(np.int64)

    @classmethod
    def learned(cls, name: str, values: Sequence[Any]) -> Column:
        """Choose intervals of equally many values, or the most frequent names."""
        given = [value for value in values if _word(value)]
        if not all(isinstance(v, int | float) and not isinstance(v, bool) for v in given):
            counts = Counter(map(_word, given))
            kept = sorted(counts, key=lambda word: (-counts[word], word))[:MOST_NAMES]
            return cls(name, None, tuple(sorted(kept)))
        numbers = np.array([v for v in given if np.isfinite(v)], dtype=np.float64)
        distinct = np.unique(numbers)
        count = min(MOST_INTERVALS, max(2, len(numbers) // ROWS_OF_AN_INTERVAL))
        if len(distinct) <= count:
            edges = (distinct[1:] + distinct[:-1]) / 2
        else:
            shares = np.arange(1, count) / count
            edges = np.unique(np.quantile(numbers, shares))
        return cls(name, tuple(float(edge) for edge in edges))


@dataclass(frozen=True)
class TableEncoding:
    """The columns that a base reads, in order."""

    columns: tuple[Column, ...]

    @classmethod
    def learned(cls, cells: Mapping[str, Sequence[Any]]) -> TableEncoding:
        """Learn how to encode from the columns of public rows."""
        return cls(tuple(Column.learned(name, values) for name, values in cells.items()))

    @classmethod
    def of(cls, folder: Path | str) -> TableEncoding:
        """Read the encoding of a base.

        Raises
        ------
        ModelError
            The base was not made for tables.
        """
        entries = read_config(Path(folder)).get(CONFIG_KEY)
        if not entries:
            raise ModelError(
                f"'{folder}' is no base for tables (its config.json has no {CONFIG_KEY}), and the "
                "data are a table; take model='tiny-table' or a base that it was saved as, or set "
                "text-column to a column of texts"
            )
        return cls(
            tuple(
                Column(
                    str(entry["name"]),
                    tuple(map(float, entry["edges"])) if "edges" in entry else None,
                    tuple(map(str, entry.get("names", ()))),
                )
                for entry in entries
            )
        )

    def to_config(self) -> list[dict[str, object]]:
        """Return what `of` reads."""
        return [
            {"name": c.name, "names": list(c.names)}
            if c.edges is None
            else {"name": c.name, "edges": list(c.edges)}
            for c in self.columns
        ]

    @property
    def names(self) -> tuple[str, ...]:
        """The columns' names."""
        return tuple(column.name for column in self.columns)

    @property
    def unknown(self) -> npt.NDArray[np.int64]:
        """Each column's token for what is missing or unknown, shape (columns,)."""
        sizes = [column.size for column in self.columns]
        return _RESERVED + np.cumsum([0, *sizes[:-1]], dtype=np.int64)

    @property
    def vocabulary(self) -> int:
        """Number of different tokens."""
        return _RESERVED + sum(column.size for column in self.columns)

    def tokens(self, cells: Mapping[str, Sequence[Any]]) -> npt.NDArray[np.int64]:
        """Return the tokens of rows, shape (n, 1 + columns).

        Parameters
        ----------
        cells : mapping of str to sequence
            For each column a value for each row; None is missing.
        """
        numbers = np.stack([column.numbers(cells[column.name]) for column in self.columns], axis=1)
        row = np.full((len(numbers), 1), _ROW, dtype=np.int64)
        return np.concatenate([row, self.unknown + numbers], axis=1)


def _word(value: Any) -> str:
    """Return a name's text; empty where it is missing. 3 and 3.0 are one name."""
    if value is None or value != value:
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip()


def _number(value: Any) -> float:
    try:
        return float("nan") if value is None else float(value)
    except ValueError:
        return float("nan")
