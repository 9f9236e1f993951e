"""Accuracy over virtual time: what a round costs in seconds shows here, not over rounds."""

from __future__ import annotations

from itertools import cycle

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from app.report.plots import style
from app.report.plots.clock.seconds import seconds_axis
from app.report.record import RunRecord
from app.report.scores import baseline_mark
from app.report.wording import duration, percent

_HEIGHT = 3.7
_PANELS = (
    ("accuracy", "Server test set", style.SERVER),
    ("client_accuracy_mean", "Clients, mean", style.CLIENTS),
)
_NEARLY = 0.9


def time_figure(record: RunRecord) -> Figure | None:
    """Draw accuracy over the virtual clock; None without one, or with fewer than two points."""
    panels = [panel for panel in _PANELS if len(record.by_clock(panel[0])[0]) > 1]
    if not panels:
        return None
    figure, axes = style.new_figure(_HEIGHT, (1.0,) * len(panels))
    for one, (score, title, color) in zip(axes, panels, strict=True):
        _panel(one, record, score, color)
        style.heading(one, title, "Accuracy over virtual time")
    return figure


def time_words(record: RunRecord) -> tuple[str, str]:
    """Return a description for those who cannot see the picture, and its caption."""
    said = []
    for score, title, _ in _PANELS:
        second, target = _reached(*record.by_clock(score))
        if second is not None:
            said.append(f"{title}: {percent(target)} after {duration(second)}")
    description = "Accuracy over virtual time" + (f". {'; '.join(said)}" if said else "")
    caption = (
        "Virtual time is what the scenario's devices and links would have taken; evaluations take "
        "none. The dot marks nine tenths of the whole gain."
    )
    return description, caption


def _reached(seconds: list[float], values: list[float]) -> tuple[float | None, float]:
    """Return when nine tenths of the gain were there for the first time, and how much that is."""
    if len(values) < 2 or max(values) <= values[0]:
        return None, 0.0
    target = values[0] + _NEARLY * (max(values) - values[0])
    first = next(s for s, value in zip(seconds, values, strict=True) if value >= target)
    return first, target


def _panel(axes: Axes, record: RunRecord, score: str, color: str) -> None:
    seconds, values = record.by_clock(score)
    labels = [style.EndLabel(values[-1], f"This run {percent(values[-1])}", color)]
    seen = list(values)
    paint = style.each_color(list(record.baselines), style.BASELINES)
    dashes = cycle(((0, (5, 2)), (0, (1, 1.6))))
    for name, run in record.baselines.items():
        at, reached = run.by_clock(score)
        if len(at) > 1:
            axes.plot(at, reached, color=paint(name), linewidth=1.4, linestyle=next(dashes))
            text = f"{baseline_mark(name)} {percent(reached[-1])}"
            labels.append(style.EndLabel(reached[-1], text, paint(name)))
            seen += reached
    axes.plot(seconds, values, color=color, linewidth=2.0, drawstyle="steps-post")
    second, _ = _reached(seconds, values)
    if second is not None:
        height = values[seconds.index(second)]
        axes.plot([second], [height], "o", color=color, markersize=5)
        axes.annotate(
            duration(second), (second, height), (6, -10), textcoords="offset points",
            fontsize=style.SMALL, color=style.MUTED,
        )  # fmt: skip
    style.fraction_limits(axes, seen)
    style.percent_axis(axes)
    axes.set_xlim(0, seconds[-1])
    seconds_axis(axes)
    style.label_ends(axes, labels, _HEIGHT)
