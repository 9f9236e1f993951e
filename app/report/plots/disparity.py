"""Local against global disparity, and the accuracy that limits on them leave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from app.report.plots import style
from app.report.record import RunRecord, View
from app.report.sections.fairness import joint_counts
from app.report.wording import number
from models.errors import BouquetError
from models.fairness.counts import GroupCounts
from models.fairness.frontier import Frontier, Point
from models.fairness.information import decompose

_COLORS = (style.SERVER, style.WORSE, style.CLIENTS, *style.BASELINES)
_MOST_VIEWS = 6
_MOST_CELLS = 400
_STEPS = 12
_PARTS = (
    ("unique_disparity", "unique: in clients and in the whole", style.SERVER),
    ("redundant_disparity", "redundant: between clients only", style.WORSE),
    ("masked_disparity", "masked: in clients only", style.FAINT),
)


def disparity_figure(record: RunRecord) -> Figure | None:
    """Draw the plane of local and global disparity, round by round, and what they consist of.

    None where no round knows them.
    """
    lines = [line for line in record.rounds if _known(line.fairness)]
    if not lines:
        return None
    last = _known(lines[-1].fairness)
    names = list(last)[:_MOST_VIEWS]
    color = style.each_color(names, _COLORS)
    figure, (plane, parts) = style.new_figure(3.9, (1.0, 1.15))
    largest = 1e-3
    for name in names:
        path = [view for line in lines if (view := _known(line.fairness).get(name)) is not None]
        x, y = ([v.figures[key] for v in path] for key in ("global_disparity", "local_disparity"))
        largest = max(largest, *x, *y)
        plane.plot(x, y, color=color(name), linewidth=1.3, alpha=0.6, marker=".", markersize=4)
        plane.scatter(x[0], y[0], s=30, facecolor=style.PAPER, edgecolor=color(name), zorder=3)
        plane.scatter(x[-1], y[-1], s=42, color=color(name), zorder=4)
        plane.annotate(
            style.plain(name), (x[-1], y[-1]), (8, -10), textcoords="offset points",
            fontsize=style.SMALL, color=color(name),
        )  # fmt: skip
    plane.plot([0, largest], [0, largest], color=style.FAINT, linewidth=0.9, linestyle=(0, (4, 3)))
    plane.set_xlim(-0.03 * largest, 1.18 * largest)
    plane.set_ylim(-0.03 * largest, 1.08 * largest)
    plane.set_xlabel("Global disparity I(Z; Ŷ), bits", fontsize=style.TEXT, color=style.MUTED)
    plane.set_ylabel("Local disparity I(Z; Ŷ | S), bits", fontsize=style.TEXT, color=style.MUTED)
    plane.grid(axis="x", color=style.GRID, linewidth=0.8)
    style.heading(plane, "Local against global", "Hollow: first evaluation. Filled: last.")
    _parts_panel(parts, [(name, last[name]) for name in names])
    return figure


def _known(views: Mapping[str, View]) -> dict[str, View]:
    return {name: view for name, view in views.items() if "global_disparity" in view.figures}


def _parts_panel(axes: Axes, views: Sequence[tuple[str, View]]) -> None:
    places = np.arange(len(views))[::-1]
    left = np.zeros(len(views))
    for key, label, color in _PARTS:
        widths = np.array([max(0.0, view.figures.get(key, 0.0)) for _, view in views])
        axes.barh(places, widths, left=left, height=0.6, color=color, label=label, linewidth=0)
        left += widths
    for place, total in zip(places, left, strict=True):
        axes.annotate(
            number(total), (total, place), (4, 0), textcoords="offset points", va="center",
            fontsize=style.SMALL, color=style.INK,
        )  # fmt: skip
    axes.set_yticks(places, [style.plain(name, 20) for name, _ in views])
    axes.tick_params(axis="y", labelcolor=style.INK)
    axes.set_xlim(0, 1.18 * max(left.max(), 1e-3))
    axes.set_ylim(-1.4 - 0.2 * len(views), max(2.0, len(views) - 0.4))
    axes.grid(axis="y", visible=False)
    axes.grid(axis="x", color=style.GRID, linewidth=0.8)
    axes.legend(loc="lower right", fontsize=style.SMALL, frameon=False, labelcolor=style.MUTED)
    style.heading(axes, "What they consist of", "Bits. Global: unique and redundant. "
                  "Local: unique and masked.")  # fmt: skip


def frontier_figure(clients: Mapping[str, GroupCounts], columns: Sequence[str]) -> Figure | None:
    """Draw the best accuracy under limits on disparity, and where the model is.

    None where the task is not binary, no column has two groups, there are too many clients, or
    cvxpy is not installed.
    """
    joints = [(name, found) for name in columns if (found := joint_counts(clients, name))]
    chosen = [(name, t) for name, (t, _) in joints if t.shape[0] * t.shape[1] <= _MOST_CELLS][:2]
    drawn = [(name, t, curves) for name, t in chosen if (curves := _curves(t)) is not None]
    if not drawn:
        return None
    figure, panels = style.new_figure(3.9, [1.0] * len(drawn))
    for axes, (name, table, curves) in zip(panels, drawn, strict=True):
        _frontier_panel(axes, name, table, curves)
    panels[-1].legend(
        loc="upper left", bbox_to_anchor=(1.01, 1.0), fontsize=style.SMALL, frameon=False,
        labelcolor=style.MUTED,
    )  # fmt: skip
    return figure


Curves = Sequence[tuple[str, str, str, Sequence[Point]]]


def _curves(table: np.ndarray) -> Curves | None:
    """Solve for each kind of limit; from none at all to what the classes themselves would need."""
    truth = decompose(table.sum(axis=3))
    now = decompose(table.sum(axis=2))
    if truth is None or now is None:
        return None
    largest = 1.1 * max(truth.global_, truth.local, now.global_, now.local, 1e-3)
    limits = [largest * (step / _STEPS) ** 3 for step in range(_STEPS + 1)]
    try:
        any_, derived = Frontier(table), Frontier(table, derived=True)
        return [
            ("global limit only", style.SERVER, "-", any_.curve(limits, "global")),
            ("local limit only", style.WORSE, "-", any_.curve(limits, "local")),
            ("both limits", style.INK, "-", any_.curve(limits, "both")),
            ("both, from this model", style.INK, "--", derived.curve(limits, "both")),
        ]
    except BouquetError:
        return None


def _frontier_panel(axes: Axes, name: str, table: np.ndarray, curves: Curves) -> None:
    for label, color, line, points in curves:
        x = [p.global_limit or p.local_limit or 0.0 for p in points]
        axes.plot(x, [p.accuracy for p in points], color=color, linestyle=line, linewidth=1.8,
                  label=label)  # fmt: skip
    accuracy = float(np.trace(table.sum(axis=(0, 1))) / table.sum())
    now = decompose(table.sum(axis=2))
    if now is not None:
        for value, color, where in (
            (now.global_, style.SERVER, "global"),
            (now.local, style.WORSE, "local"),
        ):
            axes.scatter(value, accuracy, s=44, color=color, zorder=4,
                         label=f"this model's {where} disparity")  # fmt: skip
    axes.set_xlabel("Limit on disparity, bits", fontsize=style.TEXT, color=style.MUTED)
    style.fraction_limits(axes, [accuracy, *(p.accuracy for *_, ps in curves for p in ps)])
    style.percent_axis(axes)
    subtitle = "Lines: no classifier is above. Dashed: by flipping this model's answers."
    style.heading(axes, f"Accuracy that fairness by {name} leaves", subtitle)
