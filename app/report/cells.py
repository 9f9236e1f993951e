"""Numbers and tables out of files that may hold anything."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping
from pathlib import Path

from models.errors import RunDirectoryError


def table_rows(path: Path, text: str) -> Iterator[Mapping[str, str | None]]:
    """Yield the rows of a CSV table; `path` is for the error.

    Raises
    ------
    RunDirectoryError
        It is no CSV.
    """
    try:
        yield from csv.DictReader(io.StringIO(text))
    except csv.Error as error:
        raise RunDirectoryError(f"{path} is not valid CSV: {error}") from error


def decimal(value: object) -> float | None:
    """Return a finite number, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def whole(value: object) -> int | None:
    """Return a finite number, rounded, or None."""
    number = decimal(value)
    return None if number is None else round(number)
