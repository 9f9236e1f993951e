"""Accuracy by group, drawn only where the run knows groups."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from app.report.plots import style
from app.report.record import Groups, GroupScore, RunRecord
from app.report.wording import percent, points
from models.fairness.counts import UNKNOWN as NO_GROUP

_MOST_VALUES = 24


def group_scores(record: RunRecord) -> tuple[Groups, Groups]:
    """Return the groups' scores before training and the newest ones after it."""
    before = next((line.groups for line in record.rounds if line.number == 0), {})
    after = [line.groups for line in record.rounds if line.number and line.groups]
    return before, after[-1] if after else {}


def group_figure(record: RunRecord) -> Figure | None:
    """Draw each group's accuracy, lowest first; None where the run knows no groups."""
    before, after = group_scores(record)
    newest = after or before
    if not newest:
        return None
    shown = [min(len(values), _MOST_VALUES) for values in newest.values()]
    height = 1.0 + sum(0.9 + 0.27 * rows for rows in shown)
    figure = style.blank(height)
    grid = figure.add_gridspec(len(shown), 1, height_ratios=[rows + 2 for rows in shown])
    for place, (column, values) in enumerate(newest.items()):
        axes = style.quiet(figure.add_subplot(grid[place, 0]))
        view = record.fairness[1].get(column) or record.fairness[0].get(column)
        small = view.undefined if view is not None else ()
        _group_panel(axes, column, before.get(column, {}) if after else {}, values, small)
    return figure


def _group_panel(
    axes: Axes,
    column: str,
    before: Mapping[str, GroupScore],
    after: Mapping[str, GroupScore],
    small: Collection[str],
) -> None:
    ranked = sorted(after.items(), key=_lowest_first)
    shown = ranked[:_MOST_VALUES]
    places = range(len(shown) - 1, -1, -1)
    across = axes.get_yaxis_transform()
    values = []
    for place, (value, score) in zip(places, shown, strict=True):
        found, start = score.accuracy, before[value].accuracy if value in before else None
        color = style.BETTER
        if found is not None and start is not None:
            color = style.WORSE if found < start else style.BETTER
            values.append(start)
            axes.plot(
                [start, found], [place, place],
                color=color, linewidth=2.6, alpha=0.35, solid_capstyle="butt",
            )  # fmt: skip
            axes.scatter(
                start, place, s=26, facecolor=style.PAPER, edgecolor=style.MUTED,
                linewidth=1.1, zorder=3,
            )  # fmt: skip
        if found is not None:
            values.append(found)
            axes.scatter(found, place, s=34, color=color, zorder=4)
        for offset, text, ink in (
            (1.085, "too few" if found is None else percent(found), style.INK),
            (1.2, f"n = {score.examples:,}", style.MUTED),
        ):
            axes.text(
                offset, place, text, transform=across, ha="right", va="center",
                fontsize=style.SMALL, color=ink,
            )  # fmt: skip
    axes.set_yticks(list(places), [style.plain(value, 28) for value, _ in shown])
    axes.tick_params(axis="y", labelcolor=style.INK)
    axes.set_ylim(-0.7, len(shown) - 0.3)
    low, high = min(values, default=0.0), max(values, default=1.0)
    axes.set_xlim(max(-0.01, low - 0.04), min(1.01, high + 0.04))
    axes.grid(axis="y", visible=False)
    axes.grid(axis="x", color=style.GRID, linewidth=0.8)
    style.percent_axis(axes, "x")
    known = [
        score.accuracy
        for value, score in ranked
        if score.accuracy is not None and value not in small and NO_GROUP not in value.split(" & ")
    ]
    gap = f" Lowest to highest: {points(max(known) - min(known)).lstrip('+')}." if known[1:] else ""
    part = f" The {len(shown)} lowest of {len(ranked):,} shown." if shown != ranked else ""
    style.heading(
        axes,
        f"Accuracy by {column}",
        f"Filled: after. Hollow: before.{gap}{part}",
    )


def _lowest_first(item: tuple[str, GroupScore]) -> tuple[bool, float, str]:
    value, score = item
    return score.accuracy is None, score.accuracy or 0.0, value
