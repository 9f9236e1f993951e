"""How stale updates were, and what share of them each client's are."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from app.report.clock.record import Timeline
from app.report.plots import style
from app.report.wording import counted, number, percent

_HEIGHT = 3.6
_MOST_BARS = 40


def shares_figure(timeline: Timeline, examples: Mapping[str, int]) -> Figure | None:
    """Draw the staleness histogram, and clients' shares of the updates; None without updates.

    Parameters
    ----------
    timeline : Timeline
    examples : mapping of str to int
        Train examples of the clients that said so.
    """
    if not timeline.counted.any():
        return None
    figure, (stale, shares) = style.new_figure(_HEIGHT, (1.0, 1.0))
    _staleness(stale, timeline)
    _shares(figure, shares, timeline, examples)
    return figure


def shares_words(timeline: Timeline, examples: Mapping[str, int]) -> tuple[str, str]:
    """Return a description for those who cannot see the picture, and its caption."""
    stale = timeline.staleness[timeline.counted]
    used = timeline.used
    never = int((used == 0).sum())
    most = int(used.argmax())
    description = (
        f"Staleness of {counted(len(stale), 'update')}: mean {number(float(stale.mean()), 1)}, "
        f"largest {int(stale.max()):,} rounds. {counted(never, 'client')} without any update; "
        f"most are of {timeline.clients[most]}: {percent(used[most] / used.sum())}"
    )
    caption = "Staleness: rounds closed between the download of a model and the use of its update."
    if _known(timeline, examples):
        caption += (
            " On the right a dot is a client: on the line its share of the updates is its share of "
            "the examples; above it the model has seen more of it than it has data."
        )
    return description, caption


def _staleness(axes: Axes, timeline: Timeline) -> None:
    stale = timeline.staleness[timeline.counted]
    most = int(stale.max())
    width = -(-(most + 1) // _MOST_BARS)
    edges = np.arange(0, most + width + 1, width) - 0.5
    axes.hist(stale, edges.tolist(), color=style.SERVER, rwidth=0.86)
    mean = float(stale.mean())
    axes.axvline(mean, color=style.WORSE, linewidth=1.2)
    axes.annotate(
        f"mean {mean:.1f}", (mean, 1), (4, -2), xycoords=axes.get_xaxis_transform(),
        textcoords="offset points", va="top", fontsize=style.SMALL, color=style.WORSE,
    )  # fmt: skip
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.set_xlabel("Staleness, rounds", fontsize=style.TEXT, color=style.MUTED)
    style.heading(axes, "Staleness", f"Number of updates, of {len(stale):,}")


def _known(timeline: Timeline, examples: Mapping[str, int]) -> bool:
    return sum(examples.get(name, 0) for name in timeline.clients) > 0


def _shares(figure: Figure, axes: Axes, timeline: Timeline, examples: Mapping[str, int]) -> None:
    used = timeline.used / timeline.used.sum()
    if not _known(timeline, examples):
        axes.bar(range(len(used)), np.sort(used)[::-1], color=style.SERVER, width=0.9)
        axes.set_xticks([])
        style.percent_axis(axes)
        style.heading(axes, "Share in the model", "Share of all updates, a bar a client")
        return
    held = np.array([examples.get(name, 0) for name in timeline.clients], np.float64)
    held /= held.sum()
    end = 1.08 * max(float(used.max()), float(held.max()))
    axes.plot([0, end], [0, end], color=style.FAINT, linewidth=1.0, zorder=1)
    seconds = timeline.seconds
    timed = np.isfinite(seconds) & (seconds > 0)
    axes.scatter(held[~timed], used[~timed], s=22, color=style.FAINT, zorder=2)
    if timed.any():
        norm = LogNorm(seconds[timed].min(), max(seconds[timed].max(), seconds[timed].min() * 1.01))
        dots = axes.scatter(
            held[timed], used[timed], s=26, c=seconds[timed], cmap="viridis_r", norm=norm, zorder=3
        )
        bar = figure.colorbar(dots, ax=axes, fraction=0.03, pad=0.02)
        bar.outline.set_visible(False)
        bar.ax.tick_params(which="both", length=0, labelsize=style.SMALL, labelcolor=style.MUTED)
        bar.ax.yaxis.set_minor_formatter(NullFormatter())
        bar.ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        bar.set_label("Seconds a training", fontsize=style.SMALL, color=style.MUTED)
    axes.set_xlim(0, end)
    axes.set_ylim(-0.02 * end, end)
    style.percent_axis(axes)
    style.percent_axis(axes, "x")
    axes.set_xlabel("Share of the examples", fontsize=style.TEXT, color=style.MUTED)
    style.heading(axes, "Share in the model", "Share of all updates against share of the data")
