"""Which client holds which labels: a heat map that stays readable from two clients to thousands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from app.report.plots import style
from app.report.wording import counted, percent

NAMED_ROWS = 40
_NAMED_COLUMNS = 40
NUMBERED_COLUMNS = 14


def plot_label_distribution(
    counts: Mapping[str, Mapping[str, int]], labels: Sequence[str], path: Path
) -> None:
    """Draw the labels that each client holds and write the picture.

    Parameters
    ----------
    counts : mapping of str to mapping of str to int
        Client to label to number of examples; a label that is missing counts zero.
    labels : sequence of str
        All label names in the order to show; names that only `counts` knows are added at the end.
    path : Path
        PNG to write; its folder is made.
    """
    style.save(label_figure(counts, labels), path)


def label_figure(counts: Mapping[str, Mapping[str, int]], labels: Sequence[str]) -> Figure:
    """Draw the same picture without writing it."""
    names = list(labels)
    names += sorted({label for row in counts.values() for label in row} - set(names))
    if not counts or not names:
        figure, axes = style.new_figure(1.6)
        style.empty(axes[0], "No client shares the counts of its labels.")
        return figure
    clients = sorted(counts)
    table = np.array([[counts[client].get(name, 0) for name in names] for client in clients])
    order = _order(table)
    return _draw([clients[row] for row in order], names, table[order])


def _order(table: NDArray[np.int64]) -> list[int]:
    """Put clients with the same main label together, the most lopsided first within each."""
    share = _shares(table)
    main = share.argmax(axis=1)
    return sorted(range(len(table)), key=lambda row: (main[row], -share[row, main[row]], row))


def _shares(table: NDArray[np.int64]) -> NDArray[np.float64]:
    shares: NDArray[np.float64] = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    return shares


def _draw(clients: list[str], names: list[str], table: NDArray[np.int64]) -> Figure:
    rows, columns = table.shape
    few = rows <= NAMED_ROWS
    shares = _shares(table)
    # With many labels hardly any share is large: the scale then ends where the data do.
    numbered = few and columns <= NUMBERED_COLUMNS
    darkest = 1.0 if numbered else max(float(np.quantile(shares.max(axis=1), 0.9)), 0.01)
    figure, (heat, sizes) = style.new_figure(height_of(rows), (5.0, 1.0))
    heat.imshow(
        shares, aspect="auto", cmap=style.HEAT, norm=Normalize(0, darkest),
        interpolation="nearest" if few else "auto",
    )  # fmt: skip
    cells_of(heat, clients, names, "ordered by main label")
    if numbered:
        _numbers(heat, table)
    read = "Numbers: examples" if numbered else "One row a client"
    end = "at" if darkest == 1 else "from"
    scale = f"Darker: larger share of its data, darkest {end} {percent(darkest, 0)}. {read}"
    style.heading(heat, "Labels of each client", scale)
    _sizes(sizes, table.sum(axis=1), few)
    return figure


def height_of(clients: int) -> float:
    """Return the height in inches of a heat map with a row for each client."""
    return max(1.7 + 0.235 * clients, 2.4) if clients <= NAMED_ROWS else 5.6


def cells_of(axes: Axes, clients: Sequence[str], names: Sequence[str], order: str) -> None:
    """Name rows and columns of a heat map, clients by labels, and part its cells.

    Where there are too many rows to name them, `order` says how they are ordered.
    """
    axes.grid(visible=False)
    axes.spines["bottom"].set_visible(False)
    _columns(axes, names)
    if len(clients) <= NAMED_ROWS:
        axes.set_yticks(range(len(clients)), [style.plain(client, 24) for client in clients])
        axes.tick_params(axis="y", labelcolor=style.INK)
        axes.set_yticks(np.arange(len(clients) + 1) - 0.5, minor=True)
        axes.set_xticks(np.arange(len(names) + 1) - 0.5, minor=True)
        axes.grid(which="minor", color=style.PAPER, linewidth=1.2 if len(names) <= 60 else 0)
        axes.tick_params(which="minor", length=0)
    else:
        axes.set_yticks([])
        axes.set_ylabel(
            f"{counted(len(clients), 'client')}, {order}", fontsize=style.TEXT, color=style.MUTED
        )


def _columns(axes: Axes, names: Sequence[str]) -> None:
    if len(names) <= _NAMED_COLUMNS:
        written = [style.plain(name, 18) for name in names]
        tilt = max(map(len, written)) * len(names) > 85
        axes.set_xticks(range(len(names)), written, rotation=50 if tilt else 0,
                        ha="right" if tilt else "center", rotation_mode="anchor")  # fmt: skip
    else:
        axes.set_xticks([])
        axes.set_xlabel(
            f"{len(names):,} labels, from {style.plain(names[0])} to {style.plain(names[-1])}",
            fontsize=style.TEXT, color=style.MUTED,
        )  # fmt: skip


def _numbers(axes: Axes, table: NDArray[np.int64]) -> None:
    shares = _shares(table)
    for (row, column), examples in np.ndenumerate(table):
        if examples:
            axes.text(
                column, row, f"{examples:,}", ha="center", va="center", fontsize=6.8,
                color=style.PAPER if shares[row, column] > 0.42 else style.INK,
            )  # fmt: skip


def _sizes(axes: Axes, totals: NDArray[np.int64], few: bool) -> None:
    rows = np.arange(len(totals))
    if few:
        axes.barh(rows, totals, height=0.62, color=style.FAINT)
        for row, total in zip(rows, totals, strict=True):
            axes.annotate(
                f"{total:,}", (total, row), (4, 0), textcoords="offset points", va="center",
                fontsize=style.SMALL, color=style.MUTED,
            )  # fmt: skip
    else:
        axes.fill_betweenx(rows, totals, step="mid", color=style.FAINT, linewidth=0)
    axes.set_ylim(len(totals) - 0.5, -0.5)
    axes.set_yticks([])
    axes.set_xlim(0, max(1, 1.3 * totals.max()) if few else max(1, totals.max()))
    axes.grid(visible=False)
    if few:
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)
    else:
        axes.set_xticks([0, int(totals.max())], ["0", f"{totals.max():,}"])
    style.heading(axes, "Examples", "Per client")
