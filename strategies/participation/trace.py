"""A recorded past: a file says who was there from which round to which."""

from __future__ import annotations

import csv
import logging
from bisect import bisect_right
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated, ClassVar, TypeVar

from pydantic import AfterValidator, Field

from models.errors import ConfigurationError
from strategies.participation.base import CommonOptions, Model
from strategies.transport.roster import Client

_LOG = logging.getLogger(__name__)
COLUMNS = ("client", "from", "to")
_MOST_SHOWN = 20

Span = tuple[int, int]
"""First and last round, both included."""

Read = TypeVar("Read")


def _absolute(value: str) -> str:
    if "\0" in value or not Path(value).is_absolute():
        raise ValueError("must be the absolute path of a CSV file")
    return value


TraceFile = Annotated[str, AfterValidator(_absolute)]


class TraceOptions(CommonOptions):
    """Where the trace lies."""

    file: TraceFile = Field(
        default="", description="Absolute path of a CSV file with the columns client, from, to."
    )


class Trace(Model):
    """Whoever the file names is there in the rounds it says; nobody else ever is.

    Parameters
    ----------
    options : TraceOptions
    seed : int
        Only drop-out is drawn.

    Raises
    ------
    ConfigurationError
        If the file cannot be read; one line for each wrong line of it.
    """

    about: ClassVar[str] = "a file says who is there from which round to which"
    Options: ClassVar[type[CommonOptions]] = TraceOptions

    def __init__(self, options: TraceOptions, seed: int) -> None:
        super().__init__(options, seed)
        self.file = Path(options.file)
        self.spans = read_trace(self.file)
        ends = [(first, last + 1) for spans in self.spans.values() for first, last in spans]
        self._changes = sorted({change for both in ends for change in both if change <= _FOR_EVER})
        self._strangers = Strangers(self.file, self.spans)

    def is_there(self, server_round: int, client: Client) -> bool:
        return any(first <= server_round <= last for first, last in self.spans.get(client.id, ()))

    def availability(self, client: Client) -> None:
        """Return None: a past of finite length has no long run."""

    def available(self, server_round: int, clients: Sequence[Client]) -> frozenset[str]:
        """Return the ids of those who are there when the round begins."""
        self._strangers.tell(clients)
        return super().available(server_round, clients)

    def moment(self, server_round: int) -> int:
        """Return how many comings and goings there were."""
        return bisect_right(self._changes, server_round)

    def next_change(self, server_round: int) -> int | None:
        """Return the next round in which somebody comes or goes; None if that was all."""
        place = bisect_right(self._changes, server_round)
        return self._changes[place] if place < len(self._changes) else None


class Strangers:
    """Tells, once, whom a trace names that is not there, and whom it leaves out.

    Parameters
    ----------
    file : Path
    named : collection of str
        The clients in it.
    """

    def __init__(self, file: Path, named: Collection[str]) -> None:
        self._file, self._named = file, frozenset(named)
        self._told = False

    def tell(self, clients: Sequence[Client]) -> None:
        """Compare the trace with who can be reached, the first time there is somebody."""
        known = {client.id for client in clients}
        if self._told or not known:
            return
        self._told = True
        for whose, ids in (
            ("names %d clients that are not there: %s", self._named - known),
            ("leaves out %d clients, who will never take part: %s", known - self._named),
        ):
            if ids:
                shown = ", ".join(sorted(ids)[:5]) + (", ..." if len(ids) > 5 else "")
                _LOG.warning(f"participation trace '%s' {whose}", self._file, len(ids), shown)


def read_trace(file: Path) -> Mapping[str, Sequence[Span]]:
    """Read a trace: a CSV file with the columns ``client``, ``from`` and ``to``.

    Parameters
    ----------
    file : Path
        Rounds count from 1 and both ends are included; an empty ``to`` means for ever. A client
        may have several lines; other columns are not read.

    Raises
    ------
    ConfigurationError
        If the file cannot be read; one line for each wrong line, with its number.
    """
    spans: dict[str, list[Span]] = {}
    for client, span in read_table(file, COLUMNS, _read_span):
        spans.setdefault(client, []).append(span)
    return spans


def read_table(
    file: Path, columns: Sequence[str], read: Callable[..., Read]
) -> Sequence[tuple[str, Read]]:
    """Read a trace whose first column names clients.

    Parameters
    ----------
    file : Path
    columns : sequence of str
        Those of the first line; others are not read.
    read : callable
        Takes the cells of all columns but the first; ValueError says what is wrong with them.

    Returns
    -------
    sequence of (str, value)
        Client, and what `read` made of the line.

    Raises
    ------
    ConfigurationError
        If the file cannot be read; one line for each wrong line, with its number.
    """
    where = f"participation trace '{file}'"
    found: list[tuple[str, Read]] = []
    errors: list[str] = []
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream, skipinitialspace=True)
            missing = [name for name in columns if name not in (reader.fieldnames or ())]
            if missing:
                names = ", ".join(reader.fieldnames or ()) or "nothing"
                raise ConfigurationError(
                    f"{where}, line 1: no column {' and no column '.join(missing)} (found: "
                    f"{names}); the first line must be: {','.join(columns)}"
                )
            for row in reader:
                try:
                    client, *cells = _cells(row, columns)
                    found.append((client, read(*cells)))
                except ValueError as error:
                    errors.append(f"{where}, line {reader.line_num}: {error}")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigurationError(f"{where} cannot be read: {error}") from error
    if not errors and not found:
        errors = [f"{where} has no line after the first, so nobody would ever take part"]
    if errors:
        more = len(errors) - _MOST_SHOWN
        rest = [f"{where}: {more} more lines are wrong"] if more > 0 else []
        raise ConfigurationError([*errors[:_MOST_SHOWN], *rest])
    return found


def _cells(row: Mapping[str | None, object], columns: Sequence[str]) -> list[str]:
    if None in row:
        raise ValueError("has more cells than the first line")
    cells = [str(row[name] or "").strip() for name in columns]
    if not cells[0]:
        raise ValueError("client is empty")
    return cells


def _read_span(first: str, last: str) -> Span:
    begin = _round("from", first)
    end = _round("to", last) if last else _FOR_EVER
    if end < begin:
        raise ValueError(f"to = {end} lies before from = {begin}")
    return begin, end


def _round(column: str, text: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 18 or int(text) < 1:
        raise ValueError(f"{column} = '{text[:40]}' is no round; allowed: a whole number from 1")
    return int(text)


_FOR_EVER = 2**63 - 1
