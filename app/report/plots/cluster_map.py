"""Who was in which cluster when: clients by rounds, each cluster in its colour."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from app.report.clusters.record import NOWHERE, Clusters
from app.report.plots import style
from app.report.wording import counted
from strategies.transport.roster import natural_key

COLORS = (
    "#0b63a5", "#e69f00", "#00805c", "#b5538f", "#56b4e9", "#c8500a",
    "#7a7a1f", "#4b4b9b", "#8fc06a", "#8a5a3c", "#d9a3c4", "#3c4650",
)  # fmt: skip
"""Okabe and Ito's, and five more; beyond they start over."""

_DARKEST, _LIGHTEST = 0.22, 0.88
_MOST_CONCEPTS = 8
_MOST_ABREAST = 8
_NAMED_ROWS = 40
_MOST_ROWS = 400
_LINED_COLUMNS = 60
_MOST_COLUMNS = 800


def cluster_colors(clusters: Clusters) -> dict[int, str]:
    """Return the colour that each cluster keeps through the report, those that last first."""
    rank = sorted(clusters.numbers, key=lambda number: (number not in clusters.taken, number))
    return {number: COLORS[i % len(COLORS)] for i, number in enumerate(rank)}


def cluster_map(clusters: Clusters) -> Figure:
    """Draw a row a client and a column a round, and below how many moved."""
    clients = len(clusters.clients)
    named = clients <= _NAMED_ROWS
    high = max(1.2, 0.22 * clients) if named else 4.6
    changing = bool(clusters.moves.any())
    figure = style.blank(high + (2.5 if changing else 1.5))
    grid = figure.add_gridspec(2 if changing else 1, 1,
                               height_ratios=[high, 0.75] if changing else None)  # fmt: skip
    cells = style.quiet(figure.add_subplot(grid[0, 0]))
    _cells(cells, clusters, named)
    edge = cells
    if any(clusters.concepts):
        edge = style.quiet(cells.inset_axes((-0.024, 0.0, 0.018, 1.0)))
        _concepts(edge, clusters)
    edge.set_yticks([])
    if named:
        edge.set_yticks(range(clients), [style.plain(name, 24) for name in clusters.clients])
        edge.tick_params(axis="y", labelcolor=style.INK)
    else:
        edge.set_ylabel(
            f"{clients:,} clients, by their last cluster", fontsize=style.TEXT, color=style.MUTED
        )
    _name_clusters(cells, clusters, high)
    if changing:
        cells.tick_params(labelbottom=False)
        _moves(style.quiet(figure.add_subplot(grid[1, 0])), clusters)
    else:
        style.rounds_axis(cells)
        cells.set_xlim(clusters.first - 0.5, clusters.last + 0.5)
    _legend(figure, clusters)
    return figure


def cluster_map_caption(clusters: Clusters) -> str:
    """Say how to read the map."""
    said = ["A client that changes colour along its row moved to another cluster."]
    clients, rounds = clusters.assignment.shape
    rows, columns = -(-clients // _MOST_ROWS), -(-rounds // _MOST_COLUMNS)
    if rows * columns > 1:
        cell = f"{counted(rows, 'client')} by {counted(columns, 'round')}"
        said.append(f"A cell stands for up to {cell}, and shows the commonest cluster.")
    if any(clusters.concepts):
        said.append("The strip at the left is each client's true concept, dark to light.")
    if len(clusters.numbers) > len(COLORS):
        said.append("Colours are used more than once.")
    return " ".join(said)


def _cells(axes: Axes, clusters: Clusters, named: bool) -> None:
    clients, rounds = clusters.assignment.shape
    extent = (clusters.first - 0.5, clusters.last + 0.5, clients - 0.5, -0.5)
    axes.imshow(_image(clusters), aspect="auto", interpolation="nearest", extent=extent)
    axes.grid(visible=False)
    axes.spines["bottom"].set_visible(False)
    if named:
        axes.set_yticks(np.arange(clients + 1) - 0.5, minor=True)
        axes.grid(which="minor", axis="y", color=style.PAPER, linewidth=1.6)
    if rounds <= _LINED_COLUMNS:
        axes.set_xticks(np.arange(clusters.first, clusters.last + 2) - 0.5, minor=True)
        axes.grid(which="minor", axis="x", color=style.PAPER, linewidth=1.2)
    dotted = named and rounds <= _LINED_COLUMNS and bool(clusters.moves.any())
    if dotted:
        # Colours are alike in grey print: a dot tells a move there too.
        rows, columns = np.nonzero(clusters.moves)
        axes.scatter(columns + clusters.first, rows, s=12, color=style.PAPER, zorder=3)
    axes.set_yticks([])
    axes.tick_params(which="both", length=0)
    for place in np.flatnonzero(np.diff(clusters.final)):
        axes.axhline(place + 0.5, color=style.INK, linewidth=0.8)
    dots = ". A dot is a move" if dotted else ""
    style.heading(axes, "Who is in which cluster", f"Clients down, rounds across{dots}")


def _image(clusters: Clusters) -> NDArray[np.float64]:
    """Colour the cells; where there are many, by the commonest cluster of several."""
    clients, rounds = clusters.assignment.shape
    high, wide = -(-clients // _MOST_ROWS), -(-rounds // _MOST_COLUMNS)
    colors = cluster_colors(clusters)
    numbers = [NOWHERE, *clusters.numbers]
    palette = np.array([to_rgb(style.GRID), *(to_rgb(colors[n]) for n in clusters.numbers)])
    if high * wide == 1:
        picked: NDArray[np.float64] = palette[np.searchsorted(numbers, clusters.assignment)]
        return picked
    shape = (-(-clients // high), -(-rounds // wide))
    best, most = np.zeros(shape, dtype=np.int64), np.full(shape, -1)
    for index, number in enumerate(numbers):
        here = (clusters.assignment == number).astype(np.int64)
        here = np.add.reduceat(here, np.arange(0, clients, high), axis=0)
        here = np.add.reduceat(here, np.arange(0, rounds, wide), axis=1)
        best[here > most] = index
        most = np.maximum(most, here)
    common: NDArray[np.float64] = palette[best]
    return common


def _concepts(axes: Axes, clusters: Clusters) -> None:
    greys = _greys(clusters)
    strip = np.array([[to_rgb(greys.get(name, style.PAPER))] for name in clusters.concepts])
    clients = len(clusters.clients)
    axes.imshow(
        strip, aspect="auto", interpolation="nearest", extent=(0, 1, clients - 0.5, -0.5),
    )  # fmt: skip
    axes.set_xticks([])
    axes.grid(visible=False)
    axes.spines["bottom"].set_visible(False)


def _greys(clusters: Clusters) -> dict[str, str]:
    """Return a grey for each concept, from dark to light."""
    known = sorted({name for name in clusters.concepts if name}, key=natural_key)
    shades = np.linspace(_DARKEST, _LIGHTEST, max(2, len(known)))
    return {name: str(shade) for name, shade in zip(known, shades.tolist(), strict=False)}


def _name_clusters(axes: Axes, clusters: Clusters, high: float) -> None:
    """Name the clusters at the end of their rows, the large ones first where room is short."""
    ends = {n: np.flatnonzero(clusters.final == n) for n in clusters.taken}
    gap = 1.35 * style.SMALL / 72 * len(clusters.clients) / high
    used: list[float] = []
    for number, rows in sorted(ends.items(), key=lambda item: (-len(item[1]), item[0])):
        middle = float(rows.mean())
        if any(abs(middle - other) < gap for other in used):
            continue
        used.append(middle)
        axes.annotate(
            f"{number}  ({counted(len(rows), 'client')})", (1, middle),
            (7, 0), xycoords=("axes fraction", "data"), textcoords="offset points",
            fontsize=style.SMALL, color=style.INK, va="center", annotation_clip=False,
        )  # fmt: skip


def _moves(axes: Axes, clusters: Clusters) -> None:
    each = clusters.moves.sum(axis=0)
    rounds = list(range(clusters.first, clusters.last + 1))
    style.round_bars(axes, rounds, each.tolist(), style.MUTED)
    style.rounds_axis(axes)
    axes.set_xlim(clusters.first - 0.5, clusters.last + 0.5)
    axes.set_ylim(0, max(1, 1.1 * int(each.max())))
    axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    axes.set_ylabel("Moves", fontsize=style.TEXT, color=style.MUTED)


def _legend(figure: Figure, clusters: Clusters) -> None:
    colors = cluster_colors(clusters)
    shown = sorted(list(colors)[: len(COLORS)])
    handles = [Patch(color=colors[number], label=f"cluster {number}") for number in shown]
    if (clusters.assignment == NOWHERE).any():
        handles.append(Patch(color=style.GRID, label="in none"))
    greys = _greys(clusters)
    if len(greys) <= _MOST_CONCEPTS:
        handles += [
            Patch(color=grey, label=f"concept {style.plain(name, 20)}")
            for name, grey in greys.items()
        ]
    lines = -(-len(handles) // _MOST_ABREAST)
    figure.legend(
        handles=handles, loc="outside lower center", ncols=-(-len(handles) // lines), frameon=False,
        fontsize=style.SMALL, labelcolor=style.INK, handlelength=0.8, handleheight=0.8,
        columnspacing=1.6,
    )  # fmt: skip
