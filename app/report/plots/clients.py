"""Accuracy of every client before and after: a row each while they fit, a distribution beyond."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from app.report.plots import style
from app.report.record import RunRecord, mean
from app.report.wording import counted, percent, points

_ROWS_THAT_FIT = 40


class _Pair(NamedTuple):
    client: str
    before: float | None
    after: float | None
    examples: int | None

    @property
    def last(self) -> float:
        return self.before or 0.0 if self.after is None else self.after

    @property
    def change(self) -> float | None:
        return None if self.before is None or self.after is None else self.after - self.before


def client_figure(record: RunRecord) -> Figure:
    """Draw each client's accuracy before and after the run, best first."""
    pairs = [
        _Pair(row.client, row.before, row.after, row.examples)
        for row in record.clients
        if row.before is not None or row.after is not None
    ]
    pairs.sort(key=lambda pair: (-pair.last, pair.client))
    if not pairs:
        figure, axes = style.new_figure(1.6)
        style.empty(axes[0], "No client was scored.")
        return figure
    return _rows(pairs) if len(pairs) <= _ROWS_THAT_FIT else _distribution(pairs)


def _rows(pairs: list[_Pair]) -> Figure:
    figure, (axes,) = style.new_figure(1.5 + 0.235 * len(pairs))
    places = np.arange(len(pairs))[::-1]
    for place, pair in zip(places, pairs, strict=True):
        color = _color(pair)
        if pair.before is not None and pair.after is not None:
            axes.plot(
                [pair.before, pair.after], [place, place],
                color=color, linewidth=2.6, alpha=0.35, solid_capstyle="butt", zorder=2,
            )  # fmt: skip
        if pair.before is not None:
            axes.scatter(
                pair.before, place, s=26, facecolor=style.PAPER, edgecolor=style.MUTED,
                linewidth=1.1, zorder=3, clip_on=False,
            )  # fmt: skip
        if pair.after is not None:
            axes.scatter(pair.after, place, s=34, color=color, zorder=4, clip_on=False)
    axes.set_yticks(places, [style.plain(pair.client, 24) for pair in pairs])
    axes.tick_params(axis="y", labelcolor=style.INK)
    axes.set_ylim(-1.7, len(pairs) - 0.2)
    axes.grid(axis="y", visible=False)
    axes.grid(axis="x", color=style.GRID, linewidth=0.8)
    values = [v for pair in pairs for v in (pair.before, pair.after) if v is not None]
    axes.set_xlim(max(-0.004, min(values) - 0.03), min(1.004, max(values) + 0.03))
    style.percent_axis(axes, "x")
    _mean_lines(axes, pairs, bottom=True)
    _columns(axes, pairs, places)
    read = "Accuracy on its own test part. Hollow: before. Filled: after, blue better, orange worse"
    style.heading(axes, "Each client, before and after", read)
    return figure


def _columns(axes: Axes, pairs: list[_Pair], places: np.ndarray) -> None:
    across = axes.get_yaxis_transform()
    for offset, title in ((1.085, "After"), (1.17, "Change"), (1.255, "Examples")):
        axes.text(
            offset, len(pairs) - 0.2, title, transform=across, ha="right", va="bottom",
            fontsize=style.SMALL, color=style.MUTED,
        )  # fmt: skip
    for place, pair in zip(places, pairs, strict=True):
        examples = "" if pair.examples is None else f"{pair.examples:,}"
        for offset, text, color in (
            (1.085, percent(pair.after), style.INK),
            (1.17, points(pair.change), _color(pair)),
            (1.255, examples, style.MUTED),
        ):
            axes.text(
                offset, place, text, transform=across, ha="right", va="center",
                fontsize=style.SMALL, color=color,
            )  # fmt: skip


def _distribution(pairs: list[_Pair]) -> Figure:
    figure, (ranked, spread) = style.new_figure(4.3, (1.45, 1.0))
    rank = np.arange(1, len(pairs) + 1)
    both = [
        (place, pair.before, pair.after, _color(pair))
        for place, pair in zip(rank, pairs, strict=True)
        if pair.before is not None and pair.after is not None
    ]
    ranked.vlines(
        [place for place, _, _, _ in both], [start for _, start, _, _ in both],
        [end for _, _, end, _ in both], colors=[color for _, _, _, color in both],
        linewidth=float(np.clip(300 / len(pairs), 0.4, 2.5)),
        alpha=[0.9 if color == style.WORSE else 0.3 for _, _, _, color in both],
    )  # fmt: skip
    for values, color, area in (
        ([p.before for p in pairs], style.MUTED, 2.0),
        ([p.after for p in pairs], style.INK, 3.0),
    ):
        known = [(r, v) for r, v in zip(rank, values, strict=True) if v is not None]
        ranked.scatter([r for r, _ in known], [v for _, v in known], s=area, color=color, zorder=3)
    ranked.set_xlim(0, len(pairs) + 1)
    ranked.set_xlabel("Clients, best first", fontsize=style.TEXT, color=style.MUTED)
    style.percent_axis(ranked)
    worse = sum(p.change is not None and p.change < 0 for p in pairs)
    style.heading(
        ranked,
        f"{counted(len(pairs), 'client')}, before and after",
        f"Black: after. Grey: before. Orange: the {worse:,} that got worse",
    )
    _histogram(spread, pairs)
    return figure


def _histogram(axes: Axes, pairs: list[_Pair]) -> None:
    before = [pair.before for pair in pairs if pair.before is not None]
    after = [pair.after for pair in pairs if pair.after is not None]
    low, high = min(before + after), max(before + after)
    width = 0.025 if high - low < 0.6 else 0.05
    first, last = np.floor(low / width + 1e-9), np.ceil(high / width - 1e-9)
    edges = (width * np.arange(first, max(last, first + 1) + 1)).tolist()
    edges[-1] = max(edges[-1], high)  # the sum of steps may end a rounding error short of 100 %
    if before:
        axes.hist(before, edges, histtype="step", color=style.MUTED, linewidth=1.4)
    if after:
        axes.hist(after, edges, color=style.BETTER, alpha=0.55)
    axes.set_ylim(0, 1.18 * axes.get_ylim()[1])
    style.percent_axis(axes, "x")
    axes.set_xlabel("Accuracy", fontsize=style.TEXT, color=style.MUTED)
    _mean_lines(axes, pairs, bottom=False)
    style.heading(axes, "How they spread", "Number of clients. Outline: before. Filled: after")


def _mean_lines(axes: Axes, pairs: list[_Pair], bottom: bool) -> None:
    """Mark both means, the smaller one named on its left, so that the two never touch."""
    sides = (
        ([p.before for p in pairs if p.before is not None], style.MUTED, "before"),
        ([p.after for p in pairs if p.after is not None], style.BETTER, "after"),
    )
    means = [(mean(values), color, name) for values, color, name in sides if values]
    left = min((value for value, _, _ in means), default=0.0)
    for value, color, name in means:
        axes.axvline(value, color=color, linewidth=1.0, linestyle=(0, (4, 2)), zorder=1)
        first = value == left and len(means) > 1
        axes.annotate(
            f"mean {name} {percent(value)}", (value, 0 if bottom else 1),
            (-4 if first else 4, 4 if bottom else -3), ("data", "axes fraction"),
            textcoords="offset points", color=color, va="bottom" if bottom else "top",
            fontsize=style.SMALL, ha="right" if first else "left",
        )  # fmt: skip


def _color(pair: _Pair) -> str:
    change = pair.change
    if change is None or change == 0:
        return style.MUTED
    return style.BETTER if change > 0 else style.WORSE
