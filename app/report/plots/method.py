"""What a method says of itself: its figures over the rounds, and layer by layer in the last one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from app.report.plots import style
from app.report.plots.prototypes import DISTANCES
from app.report.record import RunRecord
from app.report.wording import count, number

ERROR = "aggregation_error"
ROUNDING = 1e-5
"""An aggregation error below is what float32 leaves of an exact method."""

_COUNT = "clusters"
_MOST_PANELS = 3
_MOST_LAYERS = 12
_LEAST_SPAN = 0.02
_HEIGHT = 3.4
_WORDS: Mapping[str, tuple[str, str]] = {
    ERROR: ("Aggregation error", "What is lost of the exact mean product"),
    "collaborators": ("Collaborators", "Mean number of clients that share critical numbers"),
    "threshold": ("Threshold", "Least overlap of critical numbers for collaboration"),
    "clusters": ("Clusters", "With members"),
    "cluster_purity": ("Purity", "Share with their cluster's concept"),
    "cluster_ari": ("Rand index", "Adjusted; 1: the clusters are the true concepts"),
    "beta": ("beta", "Weight of remembered updates"),
    "rank": ("Rank", "Of the adapter that travels"),
    "accuracy_head": ("By the head", "Clients' mean accuracy if the head classified"),
    "accuracy_prototype": ("By prototypes", "Clients' mean accuracy by the nearest prototype"),
    "anchor_distance": ("To the anchors", "Mean distance of a prototype from its anchor"),
    "anchor_separation": ("Between anchors", "Mean distance to the nearest other anchor"),
    "margin": ("Margin", "Added to the distance of the true class"),
    "server_loss": ("Server's loss", "Of the generator of prototypes"),
}


def method_figure(record: RunRecord) -> Figure | None:
    """Draw a curve for each of the method's figures, and its largest values by layer.

    None where the method has none. Beyond the first three, figures are in ``metrics.jsonl`` only.
    """
    names = _shown(record)
    if not names:
        return None
    layers = _largest_layers(record, names)
    widths = [1.0] * len(names) + ([1.25] if layers else [])
    figure, axes = style.new_figure(_HEIGHT, widths)
    for panel, name in zip(axes, names, strict=False):
        _curve(panel, record, name)
    if layers:
        _layer_panel(axes[-1], layers[:_MOST_LAYERS], len(layers), max(record.figure(names[0])[0]))
    return figure


def method_words(record: RunRecord) -> tuple[str, str]:
    """Say where the figures ended, for those who cannot see them, and how to read them."""
    names = _shown(record)
    ends = ", ".join(f"{name} {_said(name, record.figure(name)[1][-1])}" for name in names)
    caption = (
        "The Frobenius norm of the difference between what the server made and the exact mean of "
        "the clients' products B A, over the norm of that mean; 0 loses nothing."
    )
    told = f"What the method told of itself, round by round; in the end {ends}"
    return told, caption if ERROR in names else ""


def _shown(record: RunRecord) -> list[str]:
    """Return the names of the figures that are drawn, the aggregation error first."""
    names = {name for line in record.rounds for name in line.figures if "/" not in name}
    names -= {"moves"} if record.clusters is not None else set()
    names -= DISTANCES.keys() if record.artifacts else set()
    return sorted(names, key=lambda name: (name != ERROR, name))[:_MOST_PANELS]


def _said(name: str, value: float) -> str:
    """Write a figure; an aggregation error that is mere rounding is called exact."""
    if name == _COUNT:
        return count(round(value))
    return "exact" if name == ERROR and value < ROUNDING else number(value)


def _largest_layers(record: RunRecord, names: Sequence[str]) -> list[tuple[str, float]]:
    """Return the layers of the first figure in its last round, the largest value first."""
    lines = [line for line in record.rounds if names[0] in line.figures]
    prefix = f"{names[0]}/"
    found = {
        name.removeprefix(prefix): value
        for name, value in lines[-1].figures.items()
        if name.startswith(prefix)
    }
    if not found or (names[0] == ERROR and max(found.values()) < ROUNDING):
        return []
    short = _without_common_parts(list(found))
    named = [(short[layer], value) for layer, value in found.items()]
    return sorted(named, key=lambda pair: -pair[1])


def _without_common_parts(layers: Sequence[str]) -> dict[str, str]:
    """Return each layer's name without the parts at its start that all share."""
    split = [layer.split(".") for layer in layers]
    same = 0
    while all(len(parts) > same + 1 and parts[same] == split[0][same] for parts in split):
        same += 1
    return {layer: ".".join(parts[same:]) for layer, parts in zip(layers, split, strict=True)}


def _curve(axes: Axes, record: RunRecord, name: str) -> None:
    rounds, values = record.figure(name)
    axes.plot(
        rounds, values, color=style.SERVER, linewidth=2.2,
        marker="o" if len(rounds) <= 25 else "", markersize=3.8,
    )  # fmt: skip
    low, high = min(0.0, *values), max(values)
    axes.set_ylim(low, max(low + _LEAST_SPAN, high + 0.08 * (high - low)))
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=name == _COUNT))
    style.rounds_axis(axes)
    title, subtitle = _WORDS.get(name, (name, "A figure of the method's own"))
    style.heading(axes, title, subtitle)
    last = style.EndLabel(values[-1], _said(name, values[-1]), style.SERVER)
    style.label_ends(axes, [last], _HEIGHT)


def _layer_panel(
    axes: Axes, layers: Sequence[tuple[str, float]], all_of_them: int, last: int
) -> None:
    places = range(len(layers) - 1, -1, -1)
    axes.barh(list(places), [value for _, value in layers], height=0.66, color=style.SERVER)
    for place, (_, value) in zip(places, layers, strict=True):
        axes.annotate(
            number(value), (value, place), (4, 0), textcoords="offset points", va="center",
            fontsize=style.SMALL, color=style.INK,
        )  # fmt: skip
    axes.set_yticks(list(places), [_end(name) for name, _ in layers])
    axes.tick_params(axis="y", labelcolor=style.INK)
    axes.set_xlim(0, 1.18 * max(max(value for _, value in layers), _LEAST_SPAN))
    axes.set_ylim(-0.8, max(len(layers) - 0.3, 3.7))
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    axes.grid(visible=False)
    more = all_of_them > len(layers)
    which = f"The {len(layers)} largest of {all_of_them}" if more else "Every layer"
    style.heading(axes, "By layer", f"{which}, round {last}")


def _end(name: str, longest: int = 34) -> str:
    """Keep the end of a long name: that is where layers differ."""
    return style.plain(name if len(name) <= longest else f"…{name[1 - longest :]}", longest)
