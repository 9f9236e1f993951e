"""Reading ``events.csv`` back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from app.report.cells import decimal, table_rows, whole
from app.report.clock.record import Timeline
from app.report.record import clean
from strategies.transport.exchange import ANSWERED
from strategies.transport.roster import natural_key


def read_timeline(
    run_dir: Path, closed: Mapping[int, float], last: int, known: Sequence[str]
) -> Timeline | None:
    """Read the trainings of rounds that have a line of their own.

    Parameters
    ----------
    run_dir : Path
    closed : mapping of int to float
        When rounds closed, as ``metrics.jsonl`` says.
    last : int
        The last round of the run.
    known : sequence of str
        The clients of ``clients.csv``.

    Returns
    -------
    Timeline or None
        None where the run wrote nothing of times.

    Raises
    ------
    RunDirectoryError
        ``events.csv`` is no table.
    """
    path = run_dir / "events.csv"
    if not path.is_file():
        return None
    text = path.read_text("utf-8", errors="replace")
    complete = text[: text.rfind("\n") + 1]  # a killed server leaves half a last line
    # A resumed run may write a training again: the newest counts.
    found: dict[tuple[str, float], tuple[int, int, float, bool]] = {}
    for row in table_rows(path, complete):
        name, number, base = (
            row.get("client"),
            whole(row.get("round")),
            whole(row.get("base_round")),
        )
        sent, arrived = decimal(row.get("sent")), decimal(row.get("arrived"))
        if not name or name[:1] == "@" or number is None or base is None:
            continue
        if sent is not None and arrived is not None and arrived >= sent and 1 <= number <= last:
            good = row.get("outcome") == ANSWERED
            found[clean(name), sent] = (number, base, arrived, good)
    if not found:
        return None
    names = [*known, *sorted({name for name, _ in found}.difference(known), key=natural_key)]
    places = {name: place for place, name in enumerate(names)}
    rounds, bases, ends, counted = zip(*found.values(), strict=True)
    return Timeline(
        clients=tuple(names),
        closed={**closed},
        client=np.array([places[name] for name, _ in found], np.int64),
        round=np.array(rounds, np.int64),
        base=np.array(bases, np.int64),
        sent=np.array([sent for _, sent in found], np.float64),
        arrived=np.array(ends, np.float64),
        counted=np.array(counted, np.bool_),
    )
