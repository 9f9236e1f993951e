"""How alike the clients' updates were: the tree with its cut, and the similarities."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from scipy.cluster.hierarchy import dendrogram

from app.report.clusters.record import NOWHERE, Clusters, Likeness
from app.report.plots import style
from app.report.plots.cluster_map import cluster_colors
from app.report.wording import counted

_HEIGHT = 4.9
_NAMED = 40
_APART = 10.0
"""SciPy puts the leaves of a tree at 5, 15, 25 ..."""
_FAR = 1.5


def likeness_figure(clusters: Clusters) -> Figure | None:
    """Draw what there is of tree and similarities; None where the run left neither."""
    likeness = clusters.likeness
    if likeness is None:
        return None
    figure, (left, right) = style.new_figure(_HEIGHT, (1.25, 1.0))
    panels = [left, right]
    if likeness.linkage.size:
        _tree(panels.pop(0), clusters, likeness)
    if likeness.similarity.size:
        _heat(figure, panels.pop(0), clusters, likeness)
    for axes in panels:
        axes.set_axis_off()
    return figure


def likeness_words(clusters: Clusters) -> tuple[str, str]:
    """Describe the picture for those who cannot see it, and say how to read it."""
    likeness = clusters.likeness
    if likeness is None:
        return "", ""
    size = counted(len(likeness.clients), "client")
    said, read = [], []
    if likeness.linkage.size:
        said.append(f"Tree of the updates of {size}, cut at {likeness.cut:.3g}")
        read.append(
            "What joins below the dashed line was one cluster at the cut; the squares are the "
            "clusters in the end."
        )
    if likeness.similarity.size:
        said.append(f"Cosine similarity of {size}, ordered by cluster")
        read.append(
            "Similarities are ordered by the clusters in the end; the diagonal is 1, whatever the "
            "scale."
        )
    return ". ".join(said), " ".join(read)


def _final(clusters: Clusters, likeness: Likeness) -> list[int]:
    known = dict(zip(clusters.clients, clusters.final.tolist(), strict=True))
    return [known.get(client, NOWHERE) for client in likeness.clients]


def _tree(axes: Axes, clusters: Clusters, likeness: Likeness) -> None:
    drawn = dendrogram(likeness.linkage, no_plot=True)
    lines = [
        list(zip(across, up, strict=True))
        for across, up in zip(drawn["icoord"], drawn["dcoord"], strict=True)
    ]
    axes.add_collection(LineCollection(lines, colors=style.MUTED, linewidths=1.1))
    leaves = np.array(drawn["leaves"])
    places = _APART * (np.arange(len(leaves)) + 0.5)
    colors = cluster_colors(clusters)
    final = _final(clusters, likeness)
    size = float(np.clip(6000 / len(leaves), 5, 60))
    axes.scatter(
        places, np.zeros(len(leaves)), s=size, marker="s", linewidth=0, clip_on=False, zorder=4,
        color=[colors.get(final[leaf], style.FAINT) for leaf in leaves],
    )  # fmt: skip
    highest = float(likeness.linkage[:, 2].max())
    # A cut far above the tree would press the tree flat.
    beyond = likeness.cut > _FAR * highest > 0
    line = _FAR * highest if beyond else likeness.cut
    said = f"cut {likeness.cut:.3g}" + (", far above" if beyond else "")
    axes.axhline(line, color=style.WORSE, linewidth=1.3, linestyle=(0, (5, 3)))
    axes.set_xlim(0, _APART * len(leaves))
    axes.set_ylim(0, 1.08 * (max(highest, line) or 1.0))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.annotate(
        said, (1, line), (-2, 3), ha="right", va="bottom",
        xycoords=("axes fraction", "data"), textcoords="offset points",
        fontsize=style.SMALL, color=style.WORSE,
    )  # fmt: skip
    axes.set_xticks([])
    if len(leaves) <= _NAMED:
        names = [style.plain(likeness.clients[leaf], 18) for leaf in leaves]
        axes.set_xticks(places, names, rotation=90)
        axes.tick_params(axis="x", pad=7)
    style.heading(axes, "Tree of updates", "Height: Ward's distance. Dashed: the cut")


def _heat(figure: Figure, axes: Axes, clusters: Clusters, likeness: Likeness) -> None:
    rank = {client: place for place, client in enumerate(clusters.clients)}
    order = sorted(range(len(likeness.clients)),
                   key=lambda place: rank.get(likeness.clients[place], len(rank)))  # fmt: skip
    square = likeness.similarity[np.ix_(order, order)]
    apart = square[~np.eye(len(order), dtype=bool)]
    low, high = (float(apart.min()), float(apart.max())) if apart.size else (0.0, 1.0)
    # The diagonal is 1 always, and would hide all differences where updates are little alike.
    image = axes.imshow(
        square, cmap=style.HEAT, vmin=low, vmax=max(high, low + 0.05), interpolation="nearest"
    )
    final = np.array(_final(clusters, likeness))[order]
    for place in np.flatnonzero(np.diff(final)):
        axes.axhline(place + 0.5, color=style.INK, linewidth=0.8)
        axes.axvline(place + 0.5, color=style.INK, linewidth=0.8)
    axes.grid(visible=False)
    axes.spines["bottom"].set_visible(False)
    axes.set_xticks([])
    axes.set_yticks([])
    edges = np.flatnonzero(np.diff(final)) + 1
    for part in np.split(np.arange(len(final)), edges):
        if len(part) * 20 >= len(final):
            mark = str(final[part[0]]) if final[part[0]] != NOWHERE else "none"
            axes.annotate(
                mark, (-0.02, part.mean()), xycoords=("axes fraction", "data"), ha="right",
                va="center", fontsize=style.SMALL, color=style.INK, annotation_clip=False,
            )  # fmt: skip
    bar = figure.colorbar(image, ax=axes, shrink=0.8, pad=0.03)
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0, labelsize=style.SMALL, labelcolor=style.MUTED)
    style.heading(axes, "Similarity", "Cosine of two clients' updates, by cluster")
