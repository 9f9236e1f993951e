"""Where classes are: a map of prototypes over the rounds, and how far apart they are."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from app.report.plots import style
from app.report.record import RunRecord
from app.report.wording import number

DISTANCES: Mapping[str, tuple[str, str]] = {
    "class_separation": ("between classes", style.SERVER),
    "class_spread": ("within a class, at a client", style.WORSE),
    "client_spread": ("within a class, between clients", style.CLIENTS),
}
"""Figures that are distances, what they are called in the picture, and their colours."""

_HEIGHT = 5.2
_NAMED = 30
_COLORS = (style.SERVER, style.WORSE, style.CLIENTS, *style.BASELINES, style.TRAIN)

Points = npt.NDArray[np.float64]


def prototype_figure(record: RunRecord) -> Figure | None:
    """Draw the map and the distances; None where no prototypes were written down."""
    tables = _tables(record)
    if not tables:
        return None
    figure, (left, right) = style.new_figure(_HEIGHT, (1.25, 1.0))
    _map(left, record, tables)
    _distances(right, record)
    return figure


def prototype_words(record: RunRecord) -> tuple[str, str]:
    """Say where the distances ended, for those who cannot see them, and how to read the map."""
    ends = ", ".join(
        f"{words} {number(record.figure(name)[1][-1])}"
        for name, (words, _) in DISTANCES.items()
        if record.figure(name)[1]
    )
    told = f"Map of the class prototypes over the rounds; distances in the end: {ends}"
    shared = f"{_shown(record)[0]:.0%}"
    return told, (
        f"The two directions in which prototypes differ most; they hold {shared} of all variance, "
        "so classes that overlap here may be far apart."
    )


def _tables(record: RunRecord) -> dict[int, Points]:
    """Return the tables of the rounds that were kept, rows of unknown classes NaN."""
    found = {
        int(name.removeprefix("rounds/")): table.astype(np.float64)
        for name, table in record.artifacts.items()
        if name.startswith("rounds/") and table.ndim == 2
    }
    return {key: found[key] for key in sorted(found) if np.isfinite(found[key]).any()}


def _shown(record: RunRecord) -> tuple[float, Points, Points]:
    """Return the share of variance that two directions hold, the centre and both directions."""
    tables = list(_tables(record).values())
    rows = np.concatenate([table[np.isfinite(table).all(axis=1)] for table in tables])
    centre = rows.mean(axis=0)
    _, sizes, directions = np.linalg.svd(rows - centre, full_matrices=False)
    held = sizes[:2] ** 2
    # The sign of a direction means nothing: the larger part of it points up.
    first = directions[:2]
    signs = np.sign(first[np.arange(len(first)), np.abs(first).argmax(axis=1)])
    return float(held.sum() / max((sizes**2).sum(), 1e-12)), centre, first * signs[:, None]


def _map(axes: Axes, record: RunRecord, tables: Mapping[int, Points]) -> None:
    _, centre, directions = _shown(record)
    ways = np.stack([(table - centre) @ directions.T for table in tables.values()])
    if ways.shape[2] < 2:
        ways = np.concatenate([ways, np.zeros_like(ways)], axis=2)[:, :, :2]
    anchors = record.artifacts.get("anchors")
    fits = anchors is not None and anchors.shape[1:] == centre.shape
    named = ways.shape[1] <= _NAMED
    for label in range(ways.shape[1]):
        way = ways[np.isfinite(ways[:, label]).all(axis=1), label]
        if not len(way):
            continue
        color = _COLORS[label % len(_COLORS)]
        axes.plot(way[:, 0], way[:, 1], color=color, linewidth=1.1, alpha=0.45)
        axes.plot(way[:1, 0], way[:1, 1], "o", color=color, markersize=3, alpha=0.45)
        axes.plot(way[-1:, 0], way[-1:, 1], "o", color=color, markersize=8 if named else 4)
        if named:
            name = record.labels[label] if label < len(record.labels) else str(label)
            axes.annotate(
                style.plain(name, 18), way[-1], (7, 5), textcoords="offset points",
                fontsize=style.SMALL, color=color,
            )  # fmt: skip
        if fits and anchors is not None:
            x, y = (anchors[label].astype(np.float64) - centre) @ directions.T
            axes.plot([x], [y], "x", color=color, markersize=7, markeredgewidth=1.6)
            axes.plot([way[-1, 0], x], [way[-1, 1], y], ":", color=color, linewidth=0.8, alpha=0.6)
    first, *_, last = (*tables, *tables)
    crosses = "; crosses: anchors" if fits else ""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.spines["bottom"].set_visible(False)
    axes.margins(0.12)
    said = f"From round {first} (small) to {last} (large){crosses}"
    style.heading(axes, "Class prototypes", said)


def _distances(axes: Axes, record: RunRecord) -> None:
    ends = []
    for name, (words, color) in DISTANCES.items():
        rounds, values = record.figure(name)
        if values:
            axes.plot(rounds, values, color=color, linewidth=2.0)
            ends.append(style.EndLabel(values[-1], words, color))
    if not ends:
        style.empty(axes, "No distances were written down")
        return
    axes.set_ylim(bottom=0)
    style.rounds_axis(axes)
    style.heading(axes, "Distances", "Well apart between classes, small within, is good")
    style.label_ends(axes, ends, _HEIGHT)
