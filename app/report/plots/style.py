"""How every picture of the report looks: colours, type, axes, labels and the empty state.

The colours are Okabe and Ito's, darkened where a thin line or small text needs it: they stay apart
for people with colour blindness and in grey print. Nothing here touches matplotlib's global state.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, MaxNLocator

from app.report.record import clean
from app.report.wording import percent, size_unit
from models.files import write_bytes

INK = "#1d2733"
MUTED = "#65717e"
FAINT = "#b9c2cb"
GRID = "#e8ecf0"
PAPER = "#ffffff"

SERVER = "#0b63a5"
CLIENTS = "#00805c"
TRAIN = "#8a6d3b"
BETTER = "#0b63a5"
WORSE = "#c8500a"
BASELINES = ("#9c4a83", "#b97700", "#4b4b9b", "#5b6770")

HEAT = LinearSegmentedColormap.from_list(
    "bouquet-heat", ["#f7fafc", "#cfe1f0", "#85b8dc", "#3a82bd", "#0b4f8a", "#06305a"]
)

TITLE = 11.5
TEXT = 9.0
SMALL = 8.0
WIDTH = 11.0
_DOTS_PER_INCH = 160
_BARS_APART = 60
# The same numbers give the same file, whenever it is drawn.
_UNDATED: Mapping[str, dict[str, str | None]] = {
    "png": {"Software": None},
    "pdf": {"CreationDate": None},
    "svg": {"Date": None},
}


class EndLabel(NamedTuple):
    """A name for a line, at the height of its last value."""

    value: float
    text: str
    color: str


def blank(height: float) -> Figure:
    """Make a figure as wide as the page and `height` inches high, with nothing on it."""
    layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1, wspace=0.04)
    return Figure(figsize=(WIDTH, height), facecolor=PAPER, layout=layout)


def new_figure(height: float, panels: Sequence[float] = (1.0,)) -> tuple[Figure, list[Axes]]:
    """Make a figure with panels side by side.

    Parameters
    ----------
    height : float
        In inches; the width is that of the page.
    panels : sequence of float
        Relative width of each panel.
    """
    figure = blank(height)
    grid = figure.add_gridspec(1, len(panels), width_ratios=list(panels))
    return figure, [quiet(figure.add_subplot(grid[0, place])) for place in range(len(panels))]


def quiet(axes: Axes) -> Axes:
    """Take away everything around the data that says nothing."""
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(FAINT)
    axes.tick_params(axis="both", length=0, labelsize=SMALL, labelcolor=MUTED, pad=5)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    return axes


def heading(axes: Axes, title: str, subtitle: str) -> None:
    """Write what a panel shows, and below it the units and how to read it."""
    axes.set_title(
        plain(title, 90), loc="left", fontsize=TITLE, fontweight="bold", color=INK, pad=24
    )
    axes.annotate(
        plain(subtitle, 160), (0, 1), (0, 8), "axes fraction", textcoords="offset points",
        fontsize=TEXT, color=MUTED, va="bottom",
    )  # fmt: skip


def plain(text: str, longest: int = 28) -> str:
    """Shorten text from a file and keep matplotlib from reading it as mathematics."""
    text = clean(text)
    text = text if len(text) <= longest else text[: longest - 1] + "…"
    return text.replace("$", r"\$")


def percent_axis(axes: Axes, which: str = "y") -> None:
    """Write an axis of fractions in percent."""
    axis = axes.yaxis if which == "y" else axes.xaxis
    axis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10]))
    low, high = axes.get_ylim() if which == "y" else axes.get_xlim()
    digits = 0 if high - low > 0.06 else 1
    axis.set_major_formatter(FuncFormatter(lambda value, _: percent(value, digits)))


def bytes_axis(axes: Axes, largest: float, which: str = "y") -> None:
    """Write an axis of bytes in the decimal unit that suits its largest value."""
    unit, name = size_unit(largest)
    axis = axes.yaxis if which == "y" else axes.xaxis
    axis.set_major_locator(MaxNLocator(5, integer=largest < 10))
    axis.set_major_formatter(
        FuncFormatter(lambda value, _: f"{abs(value) / unit:g} {name}" if value else "0")
    )


def rounds_axis(axes: Axes) -> None:
    """Mark whole rounds only."""
    steps = [1, 2, 5, 10]
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1, steps=steps))
    axes.margins(x=0.04)
    axes.set_xlabel("Round", fontsize=TEXT, color=MUTED)


def round_bars(axes: Axes, rounds: Sequence[int], heights: Sequence[float], color: str,
               floor: Sequence[float] | float = 0.0) -> None:  # fmt: skip
    """Draw a bar a round; beyond what the eye tells apart the bars close up to an area."""
    many = len(rounds) > _BARS_APART
    axes.bar(
        rounds, heights, bottom=floor, color=color, width=1.0 if many else 0.72,
        linewidth=0, antialiased=not many,
    )  # fmt: skip


def fraction_limits(axes: Axes, values: Sequence[float]) -> None:
    """Frame fractions with air around them, inside [0, 1] and never so close that noise shouts."""
    low, high = min(values), max(values)
    air = max(0.06 * (high - low), (0.10 - (high - low)) / 2)
    axes.set_ylim(max(-0.01, low - air), min(1.01, high + air))


def label_ends(axes: Axes, labels: Sequence[EndLabel], height: float) -> None:
    """Name lines at the right edge, moved apart where they would overlap.

    Call it when the limits of the axes are final; `height` is the figure's, in inches.
    """
    low, high = axes.get_ylim()
    gap = 1.25 * SMALL / 72 / (0.72 * height)
    ranks = sorted(range(len(labels)), key=lambda rank: (labels[rank].value, -rank))
    ordered = [labels[rank] for rank in ranks]
    places = [min(max((label.value - low) / (high - low), 0.0), 1.0) for label in ordered]
    for index in range(1, len(places)):
        places[index] = max(places[index], places[index - 1] + gap)
    ceiling = 1.0
    for index in reversed(range(len(places))):
        places[index] = min(places[index], ceiling)
        ceiling = places[index] - gap
    for place, label in zip(places, ordered, strict=True):
        axes.annotate(
            plain(label.text, 40), (1, place), (7, 0), "axes fraction", fontsize=SMALL,
            textcoords="offset points", color=label.color, va="center", annotation_clip=False,
        )  # fmt: skip


def empty(axes: Axes, reason: str) -> None:
    """Say calmly why a panel has nothing to show."""
    axes.set_axis_off()
    axes.text(
        0.5, 0.5, plain(reason, 160), transform=axes.transAxes, ha="center", va="center",
        fontsize=TEXT + 1, color=MUTED, wrap=True,
    )  # fmt: skip


def save(figure: Figure, path: Path) -> None:
    """Write a figure, whole or not at all; the file's suffix says how: png, pdf or svg."""
    content, kind = io.BytesIO(), path.suffix[1:]
    with warnings.catch_warnings():
        # A client's name may use a script that the bundled font lacks; the page still shows it.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(content, format=kind, dpi=_DOTS_PER_INCH, metadata=_UNDATED[kind])
    write_bytes(path, content.getvalue())


def each_color(names: Sequence[str], colors: Sequence[str]) -> Callable[[str], str]:
    """Give every name a colour of its own, in order, starting over when they run out."""
    known = {name: colors[index % len(colors)] for index, name in enumerate(names)}
    return known.__getitem__
