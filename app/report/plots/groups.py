"""Accuracy by group, drawn only where the run knows groups."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from app.report.plots import style
from app.report.record import Groups, GroupScore, RunRecord
from app.report.wording import percent, points

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
        _group_panel(axes, column, before.get(column, {}) if after else {}, values)
    return figure


def _group_panel(
    axes: Axes, column: str, before: Mapping[str, GroupScore], after: Mapping[str, GroupScore]
) -> None:
    ranked = sorted(after.items(), key=lambda item: (item[1].accuracy, item[0]))
    shown = ranked[:_MOST_VALUES]
    places = range(len(shown) - 1, -1, -1)
    across = axes.get_yaxis_transform()
    values = [score.accuracy for _, score in shown]
    for place, (value, score) in zip(places, shown, strict=True):
        start = before.get(value)
        color = style.BETTER
        if start is not None:
            color = style.WORSE if score.accuracy < start.accuracy else style.BETTER
            values.append(start.accuracy)
            axes.plot(
                [start.accuracy, score.accuracy], [place, place],
                color=color, linewidth=2.6, alpha=0.35, solid_capstyle="butt",
            )  # fmt: skip
            axes.scatter(
                start.accuracy, place, s=26, facecolor=style.PAPER, edgecolor=style.MUTED,
                linewidth=1.1, zorder=3,
            )  # fmt: skip
        axes.scatter(score.accuracy, place, s=34, color=color, zorder=4)
        for offset, text, ink in (
            (1.085, percent(score.accuracy), style.INK),
            (1.2, f"n = {score.examples:,}", style.MUTED),
        ):
            axes.text(
                offset, place, text, transform=across, ha="right", va="center",
                fontsize=style.SMALL, color=ink,
            )  # fmt: skip
    axes.set_yticks(list(places), [style.plain(value, 28) for value, _ in shown])
    axes.tick_params(axis="y", labelcolor=style.INK)
    axes.set_ylim(-0.7, len(shown) - 0.3)
    axes.set_xlim(max(-0.01, min(values) - 0.04), min(1.01, max(values) + 0.04))
    axes.grid(axis="y", visible=False)
    axes.grid(axis="x", color=style.GRID, linewidth=0.8)
    style.percent_axis(axes, "x")
    gap = ranked[-1][1].accuracy - ranked[0][1].accuracy
    part = f" The {len(shown)} lowest of {len(ranked):,} shown." if shown != ranked else ""
    style.heading(
        axes,
        f"Accuracy by {column}",
        f"Filled: after. Hollow: before. Lowest to highest: {points(gap).lstrip('+')}.{part}",
    )
