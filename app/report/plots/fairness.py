"""Each group's rates, with how sure they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from app.report.plots import style
from app.report.record import GroupScore, RunRecord
from app.report.wording import percent
from models.fairness.intervals import Interval, of_auc, of_share

_MOST_GROUPS = 12
_BAR = 0.62


def _accuracy(score: GroupScore) -> Interval | None:
    return of_share(score.accuracy, score.examples)


def _auc(score: GroupScore) -> Interval | None:
    return of_auc(score.rates.get("auc"), *_sides(score))


def _tpr(score: GroupScore) -> Interval | None:
    return of_share(score.rates.get("tpr"), _sides(score)[0])


def _fpr(score: GroupScore) -> Interval | None:
    return of_share(score.rates.get("fpr"), _sides(score)[1])


def _sides(score: GroupScore) -> tuple[int, int]:
    positives = round(score.rates.get("positives", 0))
    return positives, score.examples - positives


_RATES: Sequence[tuple[str, Callable[[GroupScore], Interval | None]]] = (
    ("Accuracy", _accuracy),
    ("AUC", _auc),
    ("True-positive rate", _tpr),
    ("False-positive rate", _fpr),
)


def fairness_figure(record: RunRecord, columns: Sequence[str]) -> Figure | None:
    """Draw a bar with its 95 % interval for each rate of each group, column by column.

    None where the run has no group column, or knows no rates of its groups.
    """
    newest = next((line.groups for line in reversed(record.rounds) if line.groups), {})
    drawn = [name for name in columns if name in newest]
    if not any(score.rates for name in drawn for score in newest[name].values()):
        return None
    sizes = [min(len(newest[name]), _MOST_GROUPS) for name in drawn]
    figure = style.blank(sum(1.25 + 0.3 * size for size in sizes))
    grid = figure.add_gridspec(len(drawn), len(_RATES), height_ratios=[3 + size for size in sizes])
    for row, name in enumerate(drawn):
        for place, (title, rate) in enumerate(_RATES):
            axes = style.quiet(figure.add_subplot(grid[row, place]))
            _panel(axes, f"{title} by {name}" if place == 0 else title, newest[name], rate, place)
    return figure


def _panel(
    axes: Axes,
    title: str,
    groups: Mapping[str, GroupScore],
    rate: Callable[[GroupScore], Interval | None],
    place: int,
) -> None:
    ranked = sorted(groups.items(), key=lambda item: (-item[1].examples, item[0]))[:_MOST_GROUPS]
    places = range(len(ranked) - 1, -1, -1)
    for height, (_, score) in zip(places, ranked, strict=True):
        found = rate(score)
        if found is None:
            axes.text(0.02, height, "too few", va="center", fontsize=style.SMALL, color=style.MUTED)
            continue
        axes.barh(height, found.value, height=_BAR, color=style.SERVER, alpha=0.75, linewidth=0)
        axes.plot([found.low, found.high], [height] * 2, color=style.INK, linewidth=1.4)
        axes.text(
            1.06, height, percent(found.value), va="center", ha="left",
            fontsize=style.SMALL, color=style.INK, clip_on=False,
        )  # fmt: skip
    names = [f"{style.plain(name, 20)}  n = {score.examples:,}" for name, score in ranked]
    axes.set_yticks(list(places), names if place == 0 else [""] * len(names))
    axes.tick_params(axis="y", labelcolor=style.INK)
    axes.set_xlim(0, 1.3)
    axes.set_xticks([0, 0.5, 1], ["0", "50 %", "100 %"])
    axes.set_ylim(-0.7, len(ranked) - 0.3)
    axes.grid(axis="y", visible=False)
    axes.grid(axis="x", color=style.GRID, linewidth=0.8)
    axes.set_title(style.plain(title, 40), loc="left", fontsize=style.TEXT + 1, color=style.INK,
                   fontweight="bold")  # fmt: skip
