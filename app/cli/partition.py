"""``bouquet partition``: who holds what, before anything is trained."""

from __future__ import annotations

import re
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from rich.console import Console
from rich.table import Table

from app.cli.merging import merge
from app.settings import Settings, parse_run_config

if TYPE_CHECKING:
    from clients.data import Federation

_MOST_LABEL_COLUMNS = 12


def show_partition(
    files: Sequence[Path], words: Sequence[str], out: Path | None, console: Console
) -> None:
    """Print one row a client and draw the label distribution, where there are labels.

    Parameters
    ----------
    files, words : sequence
        As for `app.cli.merging.merge`.
    out : Path or None
        Where the picture goes; None puts it into the working directory, under a name made from
        data set and partition.
    console : Console
        Where the table goes.

    Raises
    ------
    ConfigurationError, DataError
        If a setting or the data will not do.
    """
    from app.registry import registry
    from app.report.plots.labels.distribution import plot_label_distribution
    from app.server.planning import data_spec
    from clients.data import load_federation, partition_table

    settings = parse_run_config(merge(files, words), registry())
    federation = load_federation(data_spec(settings))
    rows = partition_table(federation)
    counts = {str(row["client"]): cast("dict[str, int]", row["labels"]) for row in rows}
    labels = federation.label_names
    if not labels:
        console.print(_table_of_texts(federation, rows))
        return
    console.print(_table(rows, counts, labels))
    path = (out or Path.cwd() / _picture_name(settings)).absolute()
    plot_label_distribution(counts, labels, path)
    console.print(f"label distribution: {path}", markup=False, highlight=False, soft_wrap=True)


def _picture_name(settings: Settings) -> str:
    name = f"{Path(settings.dataset).stem}-{settings.partition}-labels"
    return f"{re.sub(r'[^A-Za-z0-9-]+', '-', name)}.png"


def _table(
    rows: Sequence[Mapping[str, object]],
    counts: Mapping[str, Mapping[str, int]],
    labels: Sequence[str],
) -> Table:
    each_label = len(labels) <= _MOST_LABEL_COLUMNS
    concepts = any(row.get("concept") is not None for row in rows)
    table = Table("client", title=f"{len(rows)} clients, {len(labels)} labels")
    for heading in ("train", "test", *(labels if each_label else ("labels", "largest label"))):
        table.add_column(heading, justify="right")
    if concepts:
        table.add_column("concept", justify="right")
    for row in rows:
        client = str(row["client"])
        cells = [client, str(row["train"]), str(row["test"])]
        cells += _label_cells(counts[client], labels if each_label else None)
        if concepts:
            cells.append(str(row["concept"]))
        table.add_row(*cells)
    return table


def _table_of_texts(federation: Federation, rows: Sequence[Mapping[str, object]]) -> Table:
    from clients.data.texts import plain_texts

    table = Table("client", title=f"{len(rows)} clients")
    for heading in ("train", "test", "characters of a text (median)"):
        table.add_column(heading, justify="right")
    for row in rows:
        data = federation.client(str(row["client"]))
        lengths = [len(text) for part in (data.train, data.test) for text in plain_texts(part)]
        cells = str(row["train"]), str(row["test"]), f"{statistics.median(lengths):.0f}"
        table.add_row(str(row["client"]), *cells)
    return table


def _label_cells(counts: Mapping[str, int], labels: Sequence[str] | None) -> list[str]:
    if labels is not None:
        return [str(counts.get(label) or "·") for label in labels]
    present = {label: count for label, count in counts.items() if count}
    largest = max(present, key=present.__getitem__)
    return [str(len(present)), f"{largest} {present[largest] / sum(present.values()):.0%}"]
