"""The page's table of clients: what each has, what it did, and what it came to."""

from __future__ import annotations

from collections.abc import Mapping

from app.report.gains import SHARED, comparisons
from app.report.markup import Child, Html, element, join, table
from app.report.record import ClientRow, RunRecord
from app.report.scores import baseline_mark
from app.report.wording import UNKNOWN, count, counted, percent, points, size

_ROWS_SHOWN_OPEN = 50


def side(gain: float | None) -> str:
    """Return the class of a gain: good, bad, or neither."""
    return "muted" if not gain else ("good" if gain > 0 else "bad")


def client_table(record: RunRecord) -> Html | None:
    """Return the table under its heading; None where no client has a row."""
    if not record.clients:
        return None
    columns: Mapping[str, list[Child]] = {
        "Node": [row.node for row in record.clients],
        "Concept": [row.concept for row in record.clients],
        "Model": [row.model for row in record.clients],
    }
    extra = {name: cells for name, cells in columns.items() if any(cells)}
    absent = record.uneven and any(row.last_round is not None for row in record.clients)
    last = max((line.number for line in record.rounds), default=0) if absent else None
    seen = ["Last round", "Staleness"] if absent else []
    gains = [(_over(c.name), c.gains) for c in comparisons(record)]
    head = ["Client", *extra, "Examples", "Test", "Rounds", *seen, "Before", "After", "Change",
            *(name for name, _ in gains), "Up", "Down", "Refused"]  # fmt: skip
    rows: list[list[Child]] = [
        [
            row.client,
            *(cells[place] for cells in extra.values()),
            *_cells(row, last, [known.get(row.client) for _, known in gains]),
        ]
        for place, row in enumerate(record.clients)
    ]
    built = table(head, rows, numeric_from=1 + len(extra))
    if len(rows) <= _ROWS_SHOWN_OPEN:
        return join(element("h2", "Clients"), built)
    summary = element("summary", f"All {counted(len(rows), 'client')}")
    return join(element("h2", "Clients"), element("details", summary, built))


def _over(name: str) -> str:
    return "Over shared" if name == SHARED else f"Over {baseline_mark(name).lower()}"


def _cells(row: ClientRow, last: int | None, gains: list[float | None]) -> list[Child]:
    """Write a client's numbers; with the run's `last` round also when it took part last."""
    seen: list[Child] = []
    if last is not None:
        never = "never" if row.rounds == 0 else UNKNOWN
        seen = (
            [never, UNKNOWN]
            if row.last_round is None
            else [count(row.last_round), count(last - row.last_round)]
        )
    change = None if row.before is None or row.after is None else row.after - row.before
    return [
        count(row.examples), count(row.test_examples), count(row.rounds), *seen,
        percent(row.before), percent(row.after), _gain(change), *map(_gain, gains),
        size(row.bytes_up), size(row.bytes_down), count(row.rejected),
    ]  # fmt: skip


def _gain(value: float | None) -> Child:
    return element("span", points(value), class_=side(value)) if value else points(value)
