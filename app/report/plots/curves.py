"""Learning curves and what they cost: scores over rounds, bytes over rounds, scores over bytes."""

from __future__ import annotations

from itertools import accumulate, cycle

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from app.report.plots import style
from app.report.record import RunRecord
from app.report.scores import baseline_mark
from app.report.wording import percent, size

_FEW = 25
_FEW_DRIFTS = 8
_DASHES = ((0, (5, 2)), (0, (1, 1.6)), (0, (5, 1.5, 1, 1.5)), (0, (8, 3)))


def learning_figure(record: RunRecord) -> Figure:
    """Draw accuracy on the server and over the clients, and the losses, round by round."""
    height = 3.9
    if not record.rounds:
        figure, axes = style.new_figure(1.6)
        style.empty(axes[0], "No round was recorded.")
        return figure
    served = bool(record.series("accuracy")[0])
    what = "Token accuracy" if record.writes_texts else "Accuracy"
    figure, axes = style.new_figure(height, (1.0,) * (3 if served else 2))
    if served:
        _accuracy_panel(axes[0], record, "accuracy", height)
        style.heading(axes[0], "Server test set", f"{what} of the shared model")
    _accuracy_panel(axes[-2], record, "client_accuracy_mean", height)
    style.heading(axes[-2], "Clients", f"{what} on each client's own test part")
    _loss_panel(axes[-1], record, height)
    style.heading(axes[-1], "Loss", "Lower is better")
    return figure


def communication_figure(record: RunRecord) -> Figure:
    """Draw bytes each way per round, and accuracy against all bytes moved so far."""
    height = 3.7
    moved = [line.bytes_up + line.bytes_down for line in record.rounds]
    if not any(moved):
        figure, axes = style.new_figure(1.6)
        style.empty(axes[0], "No bytes were recorded.")
        return figure
    figure, axes = style.new_figure(height, (1.0, 1.0))
    _bytes_panel(axes[0], record, height)
    _cost_panel(axes[1], record, list(accumulate(moved)), height)
    return figure


def _accuracy_panel(axes: Axes, record: RunRecord, score: str, height: float) -> None:
    own = style.SERVER if score == "accuracy" else style.CLIENTS
    name = "Server" if score == "accuracy" else "Mean"
    rounds, values = record.series(score)
    labels: list[style.EndLabel] = []
    seen = list(values)
    if score == "client_accuracy_mean":
        seen += _client_band(axes, record, labels)
    color = style.each_color(list(record.baselines), style.BASELINES)
    for (baseline, run), dashes in zip(record.baselines.items(), cycle(_DASHES), strict=False):
        at, reached = run.series(score)
        if not at:
            continue
        if len(at) == 1:
            axes.axhline(reached[0], color=color(baseline), linewidth=1.4, linestyle=dashes)
        else:
            axes.plot(at, reached, color=color(baseline), linewidth=1.4, linestyle=dashes)
        seen += reached
        text = f"{baseline_mark(baseline)} {percent(reached[-1])}"
        labels.append(style.EndLabel(reached[-1], text, color(baseline)))
    if not seen:
        style.empty(axes, "No accuracy was recorded.")
        return
    _mark_drifts(axes, record)
    if values:
        _line(axes, rounds, values, own, 2.2)
        labels.append(style.EndLabel(values[-1], f"{name} {percent(values[-1])}", own))
    style.fraction_limits(axes, seen)
    style.percent_axis(axes)
    style.rounds_axis(axes)
    style.label_ends(axes, labels, height)


def _mark_drifts(axes: Axes, record: RunRecord) -> None:
    """Draw a line before each round in which data drifted, and say how where there is room."""
    last = max(line.number for line in record.rounds)
    shown = {first: kind for first, kind in record.drifts.items() if first <= last}
    for first, kind in shown.items():
        axes.axvline(first - 0.5, color=style.MUTED, linewidth=0.8, linestyle=(0, (3, 2)))
        if len(shown) <= _FEW_DRIFTS:
            axes.annotate(
                f"{kind} drift", (first - 0.5, 0.02), xycoords=axes.get_xaxis_transform(),
                rotation=90, ha="right", va="bottom", fontsize=style.TEXT - 2, color=style.MUTED,
            )  # fmt: skip


def _client_band(axes: Axes, record: RunRecord, labels: list[style.EndLabel]) -> list[float]:
    """Shade from the mean down to the worst decile, and draw the worst client below it."""
    middle = dict(zip(*record.series("client_accuracy_mean"), strict=True))
    tail = dict(zip(*record.series("client_accuracy_worst_decile"), strict=True))
    both = [number for number in middle if number in tail]
    if both:
        axes.fill_between(
            both, [tail[n] for n in both], [middle[n] for n in both],
            color=style.CLIENTS, alpha=0.14, linewidth=0,
        )  # fmt: skip
        axes.plot(both, [tail[n] for n in both], color=style.CLIENTS, linewidth=0.9, alpha=0.7)
        last = tail[both[-1]]
        labels.append(style.EndLabel(last, f"Worst decile {percent(last)}", style.CLIENTS))
    rounds, worst = record.series("client_accuracy_worst")
    if worst:
        axes.plot(rounds, worst, color=style.MUTED, linewidth=1.1, linestyle=(0, (1, 1.4)))
        text = f"Worst client {percent(worst[-1])}"
        labels.append(style.EndLabel(worst[-1], text, style.MUTED))
    return [*tail.values(), *worst]


def _loss_panel(axes: Axes, record: RunRecord, height: float) -> None:
    labels: list[style.EndLabel] = []
    for score, name, color, width in (
        ("train_loss", "Training", style.TRAIN, 1.4),
        ("client_loss_mean", "Clients, mean", style.CLIENTS, 1.4),
        ("loss", "Server", style.SERVER, 2.2),
    ):
        rounds, values = record.series(score)
        if values:
            _line(axes, rounds, values, color, width)
            labels.append(style.EndLabel(values[-1], f"{name} {values[-1]:.3f}", color))
    if not labels:
        style.empty(axes, "No loss was recorded.")
        return
    axes.margins(y=0.08)
    axes.yaxis.set_major_locator(MaxNLocator(6))
    style.rounds_axis(axes)
    style.label_ends(axes, labels, height)


def _bytes_panel(axes: Axes, record: RunRecord, height: float) -> None:
    rounds = [line.number for line in record.rounds]
    up = [float(line.bytes_up) for line in record.rounds]
    down = [-float(line.bytes_down) for line in record.rounds]
    largest = max(max(up), -min(down))
    for heights, color in ((up, style.CLIENTS), (down, style.SERVER)):
        style.round_bars(axes, rounds, heights, color)
    axes.axhline(0, color=style.PAPER, linewidth=1.5)
    axes.set_ylim(-1.12 * largest, 1.12 * largest)
    style.bytes_axis(axes, largest)
    style.rounds_axis(axes)
    style.heading(axes, "Bytes per round", "Above: clients to server. Below: server to clients")
    labels = [
        style.EndLabel(0.5 * largest, f"Up, {size(sum(up))} in all", style.CLIENTS),
        style.EndLabel(-0.5 * largest, f"Down, {size(-sum(down))} in all", style.SERVER),
    ]
    style.label_ends(axes, labels, height)


def _cost_panel(axes: Axes, record: RunRecord, moved: list[int], height: float) -> None:
    total = dict(zip((line.number for line in record.rounds), moved, strict=True))
    labels: list[style.EndLabel] = []
    seen: list[float] = []
    style.heading(axes, "Accuracy for bytes", "Against all bytes moved so far, both ways")
    for score, name, color in (
        ("client_accuracy_mean", "Clients, mean", style.CLIENTS),
        ("accuracy", "Server", style.SERVER),
    ):
        rounds, values = record.series(score)
        if values:
            _line(axes, [total[number] for number in rounds], values, color, 1.9)
            labels.append(style.EndLabel(values[-1], f"{name} {percent(values[-1])}", color))
            seen += values
    if not seen:
        style.empty(axes, "No accuracy was recorded.")
        return
    style.fraction_limits(axes, seen)
    style.percent_axis(axes)
    style.bytes_axis(axes, moved[-1], "x")
    axes.set_xlim(left=-0.02 * moved[-1])
    axes.set_xlabel("Bytes moved", fontsize=style.TEXT, color=style.MUTED)
    style.label_ends(axes, labels, height)


def _line(axes: Axes, x: list[int], y: list[float], color: str, width: float) -> None:
    marker = "o" if len(x) <= _FEW else ""
    axes.plot(x, y, color=color, linewidth=width, marker=marker, markersize=1.6 + width)
