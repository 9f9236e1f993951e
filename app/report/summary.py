"""The table at the end of a run, in the terminal."""

from __future__ import annotations

import io
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from app.report.reading import read_run
from app.report.record import RunRecord, safe
from app.report.scores import Score, baseline_words, scores, totals
from app.report.sections.samples import SAMPLES, read_samples, samples_in_words
from app.report.wording import UNKNOWN, count, difference, duration, number, percent, points, size


def summary_table(run_dir: Path) -> Table:
    """Build the table: scores before and after, baselines beside them, bytes, time, refusals.

    Raises
    ------
    RunDirectoryError
        The folder is no run directory, or one of its files cannot be understood.
    """
    return _table(read_run(run_dir))


def summary_text(run_dir: Path) -> str:
    """Return the table as plain text."""
    out = io.StringIO()
    Console(file=out, width=120, color_system=None).print(summary_table(run_dir))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()).strip("\n")


def print_summary(run_dir: Path, console: Console) -> None:
    """Print the table, how the run ended if not well, and where its report and adapter lie."""
    record = read_run(run_dir)
    console.print(_table(record))
    state = safe(str(record.status.get("state", "")))
    message = safe(str(record.status.get("message", "")))
    if state and state != "finished":
        console.print(Text(f"Run {state}: {message}", style="bold red"))
    for line in samples_in_words(read_samples(run_dir / SAMPLES)):
        console.print(Text(line), soft_wrap=True)
    for name, path in (("Report", run_dir / "report.html"), ("Adapter", run_dir / "adapter")):
        if path.exists():
            console.print(Text(f"{name:<8} {path}"), soft_wrap=True)


def _table(record: RunRecord) -> Table:
    method, data = record.text("strategy"), record.text("dataset")
    about = f"{method} on {data}" if method and data else ""
    table = Table(
        title=Text(" · ".join(filter(None, (record.name, about)))),
        box=box.SIMPLE_HEAD, title_justify="left", title_style="bold",
    )  # fmt: skip
    last = max((line.number for line in record.rounds), default=0)
    table.add_column("")
    for head in ("Before", f"After round {last}", "Change"):
        table.add_column(head, justify="right", no_wrap=True)
    for name in record.baselines:
        table.add_column(Text(baseline_words(name)), justify="right")
    for row in scores(record):
        table.add_row(*_score_cells(row, list(record.baselines)))
    table.add_section()
    own = _cost_cells(record)
    others = [_cost_cells(run) for run in record.baselines.values()]
    for place, label in enumerate(("Bytes up", "Bytes down", "Time", "Refused replies")):
        table.add_row(label, "", own[place], "", *(cells[place] for cells in others))
    return table


def _score_cells(row: Score, names: list[str]) -> list[Text]:
    write = percent if row.unit == "percent" else number
    change = UNKNOWN
    if row.change is not None:
        change = points(row.change) if row.unit == "percent" else difference(row.change)
    values = [row.label, write(row.before), write(row.after), change]
    return [Text(v) for v in [*values, *(write(row.baselines.get(name)) for name in names)]]


def _cost_cells(record: RunRecord) -> list[str]:
    spent = totals(record)
    return [
        size(spent.bytes_up),
        size(spent.bytes_down),
        duration(spent.seconds),
        count(spent.rejected),
    ]
