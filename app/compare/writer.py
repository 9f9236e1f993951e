"""Writing a comparison's tables, pictures and page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from matplotlib.figure import Figure
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from app.compare.comparison import Comparison, findings
from app.compare.figures import clients_figure, curves_figure, differences_figure
from app.compare.page import build_page
from app.compare.tables import comparison_csv, comparison_json, runs_csv, written
from app.report.plots import style
from app.report.sections.pictures import Picture
from models.files import write_bytes, write_text

_SHOWN = 6
_NAME, _COLUMN = 24, 15


def write_comparison(comparison: Comparison, folder: Path) -> Path:
    """Write everything into a folder and return the page's path."""
    write_text(folder / "comparison.csv", comparison_csv(comparison))
    write_text(folder / "runs.csv", runs_csv(comparison))
    write_text(folder / "comparison.json", comparison_json(comparison))
    pictures = []
    for name, figure, description in _figures(comparison):
        for kind in ("png", "pdf", "svg"):
            style.save(figure, folder / "plots" / f"{name}.{kind}")
        png = (folder / "plots" / f"{name}.png").read_bytes()
        pictures.append(Picture(name, png, description, ""))
    page = folder / "comparison.html"
    write_bytes(page, build_page(comparison, pictures).encode("utf-8"))
    return page


def _figures(comparison: Comparison) -> Iterator[tuple[str, Figure, str]]:
    if not comparison.rows:
        return
    yield "curves", curves_figure(comparison), "Accuracy by round and by bytes, a line a method"
    clients = clients_figure(comparison)
    if clients is not None:
        yield "clients", clients, "Each client's accuracy by method, and its gain over being alone"
    differences = differences_figure(comparison)
    if differences is not None:
        yield "differences", differences, "Difference of each method from the best, with intervals"


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Print as many columns of the table as there is room for, and what follows in words."""
    longest = min(max((len(row.method) for row in comparison.rows), default=0), _NAME)
    fitting = max(1, (console.width - longest - 3) // _COLUMN)
    shown = comparison.measures[: min(_SHOWN, fitting)]
    printed = Table(box=box.SIMPLE_HEAD, title=comparison.name, title_justify="left")
    printed.add_column("method", overflow="fold", min_width=longest)
    for measure in shown:
        printed.add_column(measure.label, justify="right")
    for row in comparison.rows:
        cells = [written(row.scores.get(measure.key), measure) for measure in shown]
        printed.add_row(*(Text(cell) for cell in [row.method, *cells]))
    console.print(printed)
    for line in [*findings(comparison), *(f"Missing: {said}" for said in comparison.missing)]:
        console.print(Text(line), soft_wrap=True)
