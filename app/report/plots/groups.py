"""Accuracy by group, and who took part: the pictures drawn only where there is something to say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from app.report.plots import style
from app.report.record import Groups, GroupScore, RunRecord
from app.report.wording import counted, percent, points

_MOST_VALUES = 24
_MOST_REASONS = 8
_MOST_BARS = 30


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


def participation_figure(record: RunRecord) -> Figure | None:
    """Draw who answered, how often each client took part, and why replies were refused.

    None where everyone took part in everything and nothing was refused.
    """
    times = [row.rounds for row in record.clients if row.rounds is not None]
    reasons = Counter(entry.code for entry in record.rejected)
    missing = any(line.answered < line.asked for line in record.rounds)
    uneven = len(set(times)) > 1
    if not (missing or uneven or reasons):
        return None
    panels = [missing, uneven, bool(reasons)]
    widths = [w for w, drawn in zip((1.4, 1.0, 1.0), panels, strict=True) if drawn]
    figure, axes = style.new_figure(3.6, widths)
    free = iter(axes)
    if missing:
        _missing_panel(next(free), record)
    if uneven:
        _times_panel(next(free), times)
    if reasons:
        _reasons_panel(next(free), reasons)
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


def _missing_panel(axes: Axes, record: RunRecord) -> None:
    lines = [line for line in record.rounds if line.asked]
    rounds = [line.number for line in lines]
    lost = [max(line.asked - line.answered, 0) for line in lines]
    # A refused evaluation is listed too, but cost no reply of those asked to train.
    refused = [min(len(line.rejected), gone) for line, gone in zip(lines, lost, strict=True)]
    silent = [gone - said for gone, said in zip(lost, refused, strict=True)]
    style.round_bars(axes, rounds, refused, style.WORSE)
    style.round_bars(axes, rounds, silent, style.FAINT, refused)
    asked = sum(line.asked for line in lines)
    used = asked - sum(lost)
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    style.rounds_axis(axes)
    style.heading(axes, "Replies not used", f"Each round; {used:,} of {asked:,} were used")
    handles = [
        Patch(color=style.WORSE, label=f"refused {sum(refused):,}"),
        Patch(color=style.FAINT, label=f"no answer {sum(silent):,}"),
    ]
    axes.legend(
        handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=2, frameon=False,
        fontsize=style.SMALL, labelcolor=style.INK, handlelength=0.8, handleheight=0.8,
        columnspacing=1.4,
    )  # fmt: skip


def _times_panel(axes: Axes, times: list[int]) -> None:
    low, high = min(times), max(times)
    width = -(-(high - low + 1) // _MOST_BARS)
    edges = (np.arange(low, high + width + 1, width) - 0.5).tolist()
    axes.hist(times, edges, color=style.SERVER, rwidth=0.86)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.set_xlabel("Rounds taken part in", fontsize=style.TEXT, color=style.MUTED)
    style.heading(axes, "Participation", "Number of clients")


def _reasons_panel(axes: Axes, reasons: Counter[str]) -> None:
    ranked = reasons.most_common()
    shown = ranked[:_MOST_REASONS]
    others = sum(times for _, times in ranked[_MOST_REASONS:])
    shown += [("others", others)] if others else []
    places = range(len(shown) - 1, -1, -1)
    axes.barh(list(places), [times for _, times in shown], height=0.6, color=style.WORSE)
    for place, (_, times) in zip(places, shown, strict=True):
        axes.annotate(
            f"{times:,}", (times, place), (4, 0), textcoords="offset points", va="center",
            fontsize=style.SMALL, color=style.INK,
        )  # fmt: skip
    axes.set_yticks(list(places), [style.plain(reason, 22) for reason, _ in shown])
    axes.tick_params(axis="y", labelcolor=style.INK)
    axes.set_ylim(-0.8 if len(shown) > 2 else -1.4, len(shown) - (0.2 if len(shown) > 2 else -0.4))
    axes.set_xlim(0, 1.15 * max(times for _, times in shown))
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    axes.grid(visible=False)
    total = counted(reasons.total(), "refusal")
    style.heading(axes, "Why replies were refused", f"{total} in all")
