"""Who trained when, from which round's model, and when it went into the model."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from app.report.clock.record import Timeline
from app.report.plots import style
from app.report.plots.clock.seconds import seconds_axis
from app.report.wording import counted, duration

_NAMED_ROWS = 40
_MOST_ROWS = 120
_MOST_BARS = 1500
_LINED_ROUNDS = 60
_WRITTEN_BARS = 160
_STALE = LinearSegmentedColormap.from_list(
    "bouquet-stale", [style.SERVER, "#5d88a8", "#b98a4e", style.WORSE]
)


def gantt_figure(timeline: Timeline) -> Figure:
    """Draw a bar for each training, coloured by its staleness; thin lines lead to its close."""
    rows = _rows(timeline)
    place = np.full(len(timeline.clients), -1)
    place[rows] = np.arange(len(rows))
    until = _until(timeline, place)
    shown = np.flatnonzero((place[timeline.client] >= 0) & (timeline.sent < until))
    named = len(rows) <= _NAMED_ROWS
    height = max(2.6, 1.7 + 0.24 * len(rows)) if named else 6.2
    figure, (axes,) = style.new_figure(height)
    axes.grid(visible=False)
    _closes(axes, timeline, until)
    top = max(1, int(timeline.staleness[timeline.counted].max(initial=0)))
    heights = place[timeline.client]
    thick = 62 * (height - 1.3) / max(len(rows), 4)
    good = shown[timeline.counted[shown]]
    lost = shown[~timeline.counted[shown]]
    _bars(axes, timeline, heights, lost, thick * 0.45, [style.FAINT] * len(lost))
    colors = [_STALE(value / top) for value in timeline.staleness[good]]
    _bars(axes, timeline, heights, good, thick, colors)
    _waits(axes, timeline, heights, good)
    if named and len(good) <= _WRITTEN_BARS:
        _bases(axes, timeline, heights, good, until)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(0, until)
    if named:
        axes.set_yticks(range(len(rows)), [style.plain(timeline.clients[r], 24) for r in rows])
        axes.tick_params(axis="y", labelcolor=style.INK)
    else:
        axes.set_yticks([])
        axes.set_ylabel(f"{len(rows):,} clients", fontsize=style.TEXT, color=style.MUTED)
    seconds_axis(axes)
    style.heading(axes, "Who trained when", _subtitle(timeline, rows, until))
    bar = figure.colorbar(
        ScalarMappable(Normalize(0, top), _STALE), ax=axes, fraction=0.015, pad=0.01, aspect=30
    )
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0, labelsize=style.SMALL, labelcolor=style.MUTED)
    bar.ax.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    bar.set_label("Staleness in rounds", fontsize=style.SMALL, color=style.MUTED)
    return figure


def gantt_words(timeline: Timeline) -> tuple[str, str]:
    """Return a description for those who cannot see the picture, and its caption."""
    total, lost = len(timeline.client), int((~timeline.counted).sum())
    description = (
        f"Bars over time, a row a client: {counted(total, 'training')}, of which {lost:,} came to "
        f"nothing, in {duration(timeline.end)}"
    )
    caption = (
        "A bar runs from the download of a model to the answer; its number is the round that the "
        "model came from, its colour how many rounds closed in the meantime. The line behind it "
        "is the wait until its round closed. Grey: dropped out, too late, refused or released."
    )
    return description, caption


def _rows(timeline: Timeline) -> NDArray[np.int64]:
    """Return the clients to draw, fast ones first; of very many an even choice by speed."""
    asked = np.bincount(timeline.client, minlength=len(timeline.clients)) > 0
    order = np.argsort(timeline.seconds, kind="stable")  # who has no time is last
    order = order[asked[order]]
    if len(order) > _MOST_ROWS:
        order = order[np.linspace(0, len(order) - 1, _MOST_ROWS).round().astype(np.int64)]
    return order


def _until(timeline: Timeline, place: NDArray[np.int64]) -> float:
    """Return the second up to which is drawn: all, or as far as bars can be told apart."""
    sent = np.sort(timeline.sent[place[timeline.client] >= 0])
    return timeline.end if len(sent) <= _MOST_BARS else float(sent[_MOST_BARS])


def _subtitle(timeline: Timeline, rows: NDArray[np.int64], until: float) -> str:
    every = counted(len(timeline.clients), "client")
    said = f"In clock time, {len(rows):,} of {every}, fast ones on top"
    if until < timeline.end:
        said += f"; the first {duration(until)} of {duration(timeline.end)}"
    return said


def _closes(axes: Axes, timeline: Timeline, until: float) -> None:
    numbers = sorted({*timeline.round.tolist()})
    seconds = [timeline.close_of(number) for number in numbers]
    inside = [second for second in seconds if second <= until]
    if len(inside) <= _LINED_ROUNDS:
        for second in inside:
            axes.axvline(second, color=style.GRID, linewidth=0.9, zorder=0)


def _bars(
    axes: Axes,
    timeline: Timeline,
    heights: NDArray[np.int64],
    which: NDArray[np.int64],
    thick: float,
    colors: list[tuple[float, float, float, float]] | list[str],
) -> None:
    lines = [[(timeline.sent[i], heights[i]), (timeline.arrived[i], heights[i])] for i in which]
    axes.add_collection(
        LineCollection(lines, colors=colors, linewidths=max(0.8, thick * 0.55), capstyle="butt")
    )


def _waits(
    axes: Axes, timeline: Timeline, heights: NDArray[np.int64], which: NDArray[np.int64]
) -> None:
    closes = {number: timeline.close_of(number) for number in {*timeline.round[which].tolist()}}
    ends = [closes[number] for number in timeline.round[which].tolist()]
    lines = [
        [(timeline.arrived[i], heights[i]), (end, heights[i])]
        for i, end in zip(which, ends, strict=True)
    ]
    axes.add_collection(LineCollection(lines, colors=style.FAINT, linewidths=0.9, zorder=1))


def _bases(
    axes: Axes,
    timeline: Timeline,
    heights: NDArray[np.int64],
    which: NDArray[np.int64],
    until: float,
) -> None:
    for i in which:
        if timeline.arrived[i] - timeline.sent[i] > 0.018 * until:
            axes.annotate(
                f"{timeline.base[i]}", ((timeline.sent[i] + timeline.arrived[i]) / 2, heights[i]),
                ha="center", va="center", fontsize=style.SMALL - 1.5, color=style.PAPER,
                annotation_clip=True,
            )  # fmt: skip
