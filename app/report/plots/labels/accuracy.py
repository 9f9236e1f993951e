"""How well each client's model tells each label: a heat map of accuracies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from app.report.plots import style
from app.report.plots.labels.distribution import (
    NAMED_ROWS,
    NUMBERED_COLUMNS,
    cells_of,
    height_of,
)
from app.report.wording import counted, percent

Counts = Mapping[str, Mapping[str, tuple[int, int]]]
"""Correct and all held-out examples, by client and label."""


def class_figure(counts: Counts, labels: Sequence[str]) -> Figure | None:
    """Draw each client's accuracy on each label; None where clients did not tell it.

    Parameters
    ----------
    counts : mapping
        Clients in the order to show.
    labels : sequence of str
        All label names in the order to show.
    """
    if not counts or not labels:
        return None
    clients = list(counts)
    table = np.full((len(clients), len(labels)), np.nan)
    for row, client in enumerate(clients):
        for column, label in enumerate(labels):
            correct, examples = counts[client].get(label, (0, 0))
            if examples:
                table[row, column] = correct / examples
    figure, (heat, classes) = style.new_figure(height_of(len(clients)), (5.0, 1.0))
    few = len(clients) <= NAMED_ROWS
    heat.set_facecolor(style.GRID)
    heat.imshow(
        table, aspect="auto", cmap=style.HEAT, norm=Normalize(0, 1),
        interpolation="nearest" if few else "auto",
    )  # fmt: skip
    cells_of(heat, clients, labels, "in order of their names")
    if few and len(labels) <= NUMBERED_COLUMNS:
        _numbers(heat, table)
    said = "Darker: larger share of its held-out examples is right. Grey: it has none"
    style.heading(heat, "Accuracy by label and client", said)
    _spread(classes, table, few)
    return figure


def class_words(counts: Counts) -> tuple[str, str]:
    """Say what the picture holds, for those who cannot see it, and how to read it."""
    known = [c / n for row in counts.values() for c, n in row.values() if n]
    none = sum(not share for share in known)
    told = (
        f"Heat map of the accuracy on each label, {counted(len(counts), 'client')}; "
        f"{none:,} of {len(known):,} cells at 0 %"
    )
    return told, (
        "At the newest evaluation, each client on its own held-out examples. A label of which a "
        "client has few examples is often missed altogether."
    )


def _numbers(axes: Axes, table: NDArray[np.float64]) -> None:
    for (row, column), share in np.ndenumerate(table):
        if np.isfinite(share):
            axes.text(
                column, row, f"{100 * share:.0f}", ha="center", va="center", fontsize=6.8,
                color=style.PAPER if share > 0.42 else style.INK,
            )  # fmt: skip


def _spread(axes: Axes, table: NDArray[np.float64], few: bool) -> None:
    """Draw each client's mean over its labels, every label counting once."""
    means = np.nanmean(table, axis=1)
    rows = np.arange(len(means))
    if few:
        axes.barh(rows, means, height=0.62, color=style.FAINT)
        for row, value in zip(rows, means, strict=True):
            axes.annotate(
                percent(float(value), 0), (value, row), (4, 0), textcoords="offset points",
                va="center", fontsize=style.SMALL, color=style.MUTED,
            )  # fmt: skip
    else:
        axes.fill_betweenx(rows, means, step="mid", color=style.FAINT, linewidth=0)
    axes.set_ylim(len(means) - 0.5, -0.5)
    axes.set_yticks([])
    axes.set_xlim(0, 1.25)
    axes.set_xticks([])
    axes.grid(visible=False)
    axes.spines["bottom"].set_visible(False)
    style.heading(axes, "Mean of labels", "Each counts once")
