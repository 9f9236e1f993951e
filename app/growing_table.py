"""A table that grows line by line, round by round, and is cut where a resumed run begins."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from models.files import write_text


class GrowingTable:
    """A CSV file whose first column is the round; it is there from the first row on.

    Parameters
    ----------
    file : Path
    columns : sequence of str
        ``"round"`` first.
    """

    def __init__(self, file: Path, columns: Sequence[str]) -> None:
        self._file = file
        self._columns = columns

    def add(self, server_round: int, rows: Iterable[Sequence[object]]) -> None:
        """Append a round's rows, without the round."""
        lines = [(server_round, *row) for row in rows]
        if not lines:
            return
        new = not self._file.exists()
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.open("a", newline="") as out:
            table = csv.writer(out, lineterminator="\n")
            table.writerows([self._columns, *lines] if new else lines)

    def keep(self, last: int) -> None:
        """Forget rounds later than `last`, and a line that a crash cut short."""
        if not self._file.is_file():
            return
        head, *rows = self._file.read_text().splitlines(keepends=True)
        kept = [r for r in rows if r.endswith("\n") and int(r.partition(",")[0]) <= last]
        write_text(self._file, "".join([head, *kept]), durable=False)
