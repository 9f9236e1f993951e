"""Replies that were not used, and why: drawn only where there is something to say."""

from __future__ import annotations

from collections import Counter

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from app.report.plots import style
from app.report.record import RunRecord
from app.report.wording import counted

_MOST_REASONS = 8
_MOST_BARS = 30


def replies_figure(record: RunRecord) -> Figure | None:
    """Draw who answered, how often clients took part, and why replies were refused.

    How often is left to the picture of who took part when, where there is one. None where there
    is nothing to draw: everyone answered, and nothing was refused.
    """
    times = [row.rounds for row in record.clients if row.rounds is not None]
    reasons = Counter(entry.code for entry in record.rejected)
    missing = any(line.answered < line.asked for line in record.rounds)
    uneven = record.participation is None and len(set(times)) > 1
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
