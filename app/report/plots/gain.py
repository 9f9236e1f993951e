"""Each client with its own model against the shared one and the baselines: above the diagonal the
client is better off."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from app.report.gains import Comparison, comparisons
from app.report.plots import style
from app.report.record import RunRecord
from app.report.wording import counted, percent, points

_HEIGHT = 4.1
_MOST_PANELS = 3


def gain_figure(record: RunRecord) -> Figure | None:
    """Draw a point a client for each comparison; None where there is nothing to compare with."""
    found = comparisons(record)[:_MOST_PANELS]
    if not found:
        return None
    figure, axes = style.new_figure(_HEIGHT, [1.0] * max(2, len(found)))
    for panel, comparison in zip(axes, found, strict=False):
        _panel(panel, comparison)
    for panel in axes[len(found) :]:
        panel.set_axis_off()
    return figure


def gain_words(record: RunRecord) -> tuple[str, str]:
    """Say the mean gains for those who cannot see the picture, and how to read it."""
    said = "; ".join(
        f"over {c.words} {points(c.mean_gain)} in the mean of {counted(len(c.own), 'client')}"
        for c in comparisons(record)
    )
    return f"Gain of each client: {said}", (
        "One point a client, on its own held-out examples; above the diagonal it is better off in "
        "this run. The table below has each client's gains."
    )


def _panel(axes: Axes, comparison: Comparison) -> None:
    clients = list(comparison.own)
    across = np.array([comparison.other[client] for client in clients])
    up = np.array([comparison.own[client] for client in clients])
    low = max(-0.02, min(across.min(), up.min()) - 0.04)
    high = min(1.02, max(across.max(), up.max()) + 0.04)
    axes.plot([low, high], [low, high], color=style.MUTED, linewidth=1.0, zorder=1)
    size = float(np.clip(3000 / len(clients), 6, 34))
    for chosen, color in (
        (up > across, style.BETTER),
        (up < across, style.WORSE),
        (up == across, style.MUTED),
    ):
        axes.scatter(
            across[chosen], up[chosen], s=size, color=color, alpha=0.75, linewidth=0, zorder=3,
            clip_on=False,
        )  # fmt: skip
    axes.set_xlim(low, high)
    axes.set_ylim(low, high)
    axes.set_box_aspect(1)
    style.percent_axis(axes)
    style.percent_axis(axes, "x")
    axes.grid(axis="x", color=style.GRID, linewidth=0.8)
    mean = percent(float(across.mean()))
    axes.set_xlabel(
        f"Accuracy with {comparison.words}, mean {mean}", fontsize=style.TEXT, color=style.MUTED
    )
    axes.set_ylabel(
        f"In this run, mean {percent(float(up.mean()))}", fontsize=style.TEXT, color=style.MUTED
    )
    better, worse = int((up > across).sum()), int((up < across).sum())
    style.heading(
        axes,
        f"Over {comparison.words}: {points(comparison.mean_gain)}",
        f"{better:,} better, {worse:,} worse, {len(clients) - better - worse:,} alike",
    )
