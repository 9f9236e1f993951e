"""The pictures of a comparison, fit for a page and for a paper."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from app.compare.comparison import HEADLINE, Comparison
from app.compare.statistics import interval
from app.report.plots import style
from app.report.record import mean
from app.report.wording import percent, points

PALETTE = (style.SERVER, style.WORSE, style.CLIENTS, *style.BASELINES, style.TRAIN)


def curves_figure(comparison: Comparison) -> Figure:
    """Draw the clients' mean accuracy by round and by bytes moved, a line a method."""
    height = 4.2
    figure, (by_round, by_bytes) = style.new_figure(height, (1.0, 1.0))
    color = style.each_color([row.method for row in comparison.rows], PALETTE)
    labels: list[style.EndLabel] = []
    largest, seen = 0.0, []
    for row in comparison.rows:
        runs = [one.curve for one in comparison.of(row.method) if one.curve]
        if not runs:
            continue
        rounds = sorted(set.intersection(*({n for n, *_ in run} for run in runs)))
        at = [[(moved, value) for n, moved, value in run if n in set(rounds)] for run in runs]
        moved = np.mean([[m for m, _ in run] for run in at], axis=0)
        spread = [interval([run[place][1] for run in at]) for place in range(len(rounds))]
        middle = [one.mean for one in spread]
        for axes, places in ((by_round, rounds), (by_bytes, moved.tolist())):
            axes.plot(places, middle, color=color(row.method), linewidth=1.8)
            if len(runs) > 1:
                half = np.array([one.half or 0.0 for one in spread])
                low, high = np.array(middle) - half, np.array(middle) + half
                axes.fill_between(
                    places, low, high, color=color(row.method), alpha=0.12, linewidth=0
                )
        seen += middle
        largest = max(largest, float(moved[-1]))
        text = f"{row.method} {percent(middle[-1])}"
        labels.append(style.EndLabel(middle[-1], text, color(row.method)))
    if not seen:
        style.empty(by_round, "No accuracy was recorded.")
        by_bytes.set_axis_off()
        return figure
    for axes in (by_round, by_bytes):
        style.fraction_limits(axes, seen)
        style.percent_axis(axes)
    style.rounds_axis(by_round)
    style.bytes_axis(by_bytes, largest, "x")
    by_bytes.set_xlabel("Bytes moved, both ways", fontsize=style.TEXT, color=style.MUTED)
    style.label_ends(by_bytes, labels, height)
    style.heading(by_round, "Accuracy by round", "Mean over clients; bands: 95 % over seeds")
    style.heading(by_bytes, "Accuracy by bytes", "The same against what was moved until then")
    return figure


def clients_figure(comparison: Comparison) -> Figure | None:
    """Draw every client's accuracy with every method, and its gain over being alone."""
    rows = [row for row in comparison.rows if any(o.clients for o in comparison.of(row.method))]
    if not rows:
        return None
    figure, (accuracy, gain) = style.new_figure(1.2 + 0.5 * len(rows), (1.0, 1.0))
    color = style.each_color([row.method for row in comparison.rows], PALETTE)
    values = {row.method: _by_client(comparison, row.method) for row in rows}
    alone = values.get("local", {})
    for place, row in enumerate(rows):
        own = values[row.method]
        _strip(accuracy, place, list(own.values()), color(row.method))
        gains = [v - alone[c] for c, v in own.items() if c in alone]
        if gains and row.method != "local":
            _strip(gain, place, gains, color(row.method))
    for axes in (accuracy, gain):
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_yticks(range(len(rows)))
        axes.grid(axis="x", color=style.GRID, linewidth=0.8)
        axes.grid(visible=False, axis="y")
    accuracy.set_yticklabels([style.plain(row.method) for row in rows])
    gain.set_yticklabels([])
    style.percent_axis(accuracy, "x")
    gain.axvline(0.0, color=style.FAINT, linewidth=1.0)
    gain.xaxis.set_major_formatter(FuncFormatter(lambda value, _: points(value)))
    style.heading(accuracy, "Clients", "Accuracy of each, mean over seeds; bar: the mean client")
    style.heading(gain, "Gain over local", "Against the same client alone")
    return figure


def differences_figure(comparison: Comparison) -> Figure | None:
    """Draw how far each method is behind the best, with intervals over seeds."""
    ranked = [row.method for row in comparison.rows if HEADLINE in row.scores]
    pairs = [pair for pair in comparison.pairs if pair.one == ranked[0]] if ranked else []
    if not pairs:
        return None
    figure, (axes,) = style.new_figure(1.2 + 0.42 * len(pairs))
    color = style.each_color([row.method for row in comparison.rows], PALETTE)
    for place, pair in enumerate(pairs):
        half = pair.difference.half
        axes.errorbar(
            -pair.difference.mean, place, xerr=half, fmt="o", color=color(pair.other),
            capsize=3, markersize=6,
        )  # fmt: skip
    axes.axvline(0.0, color=style.FAINT, linewidth=1.0)
    axes.set_ylim(len(pairs) - 0.5, -0.5)
    axes.set_yticks(range(len(pairs)))
    axes.set_yticklabels([style.plain(pair.other) for pair in pairs])
    axes.grid(axis="x", color=style.GRID, linewidth=0.8)
    axes.grid(visible=False, axis="y")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: points(value)))
    style.heading(
        axes, f"Difference from {ranked[0]}",
        "Mean accuracy over clients, within a seed; lines: 95 % over seeds, not adjusted",
    )  # fmt: skip
    return figure


def _by_client(comparison: Comparison, method: str) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for one in comparison.of(method):
        for client, value in one.clients.items():
            found.setdefault(client, []).append(value)
    return {client: mean(values) for client, values in found.items()}


def _strip(axes: Axes, place: int, values: Sequence[float], color: str) -> None:
    ordered = sorted(values)
    # Neighbours are set apart a little, always in the same way.
    height = [place + 0.22 * ((index * 0.618) % 1 - 0.5) for index in range(len(ordered))]
    axes.scatter(ordered, height, s=14, color=color, alpha=0.55, linewidth=0)
    middle = mean(ordered)
    axes.plot([middle, middle], [place - 0.28, place + 0.28], color=color, linewidth=2.4)
