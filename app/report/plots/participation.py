"""Who took part when: clients by rounds, from a handful of clients to many thousands."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from app.report.participation import Participation
from app.report.plots import style
from app.report.wording import counted, percent

_NAMED_ROWS = 40
_MOST_ROWS = 240
_MOST_COLUMNS = 300
_LINED_COLUMNS = 60
_ANSWERED, _LOST, _NOT_ASKED = style.SERVER, style.WORSE, style.GRID


class _Raster(NamedTuple):
    """Shares of the clients' rounds in each cell, shape (rows, columns)."""

    answered: NDArray[np.float64]
    lost: NDArray[np.float64]
    clients: int
    rounds: int

    @property
    def single(self) -> bool:
        """Whether a cell is one client in one round."""
        return self.clients == self.rounds == 1

    @property
    def full(self) -> float:
        """Share from which on a cell has its full colour."""
        asked = self.answered + self.lost
        return 1.0 if self.single else float(np.quantile(asked[asked > 0], 0.9))


def participation_figure(participation: Participation) -> Figure | None:
    """Draw who took part when, how often, and how stale each client is at the end.

    None where everybody took part in every round.
    """
    if participation.complete:
        return None
    clients, rounds = len(participation.clients), participation.rounds
    named = clients <= _NAMED_ROWS
    order = _order(participation)
    raster = _raster(participation, order)
    height = 2.0 + 0.22 * clients if named else 5.9
    figure, (cells, often, stale) = style.new_figure(max(height, 2.6), (5.2, 1.0, 1.0))
    high, wide = raster.answered.shape
    cells.imshow(
        _colors(raster), aspect="auto", interpolation="nearest",
        extent=(0.5, wide * raster.rounds + 0.5, high * raster.clients - 0.5, -0.5),
    )  # fmt: skip
    cells.grid(visible=False)
    cells.spines["bottom"].set_visible(False)
    style.rounds_axis(cells)
    cells.set_xlim(0.5, rounds + 0.5)
    cells.set_ylim(clients - 0.5, -0.5)
    if named:
        _name_rows(cells, participation, order)
    else:
        cells.set_yticks([])
        cells.set_ylabel(
            f"{clients:,} clients, those that took part most on top",
            fontsize=style.TEXT, color=style.MUTED,
        )  # fmt: skip
    row = "a client" if raster.clients == 1 else f"{raster.clients:,} clients"
    column = "a round" if raster.rounds == 1 else f"{raster.rounds:,} rounds"
    style.heading(cells, "Who took part when", f"A row is {row}, a column {column}")
    times, staleness = participation.times[order], participation.staleness[order]
    never = times == 0
    if named:
        _bars(often, times, [percent(t / rounds, 0) for t in times])
        written = ["never" if n else f"{s:,}" for s, n in zip(staleness, never, strict=True)]
        _bars(stale, staleness, written)
    else:
        most, longest = max(1, int(times.max())), max(1, int(staleness.max()))
        _profile(often, times, raster.clients)
        often.set_xticks([0, most], ["0", percent(most / rounds, 0 if 10 * most >= rounds else 1)])
        _profile(stale, staleness, raster.clients)
        stale.set_xticks([0, longest], ["0", f"{longest:,}"])
    style.heading(often, "Took part", "Share of rounds")
    style.heading(stale, "Staleness", "At the end, in rounds")
    _legend(figure, participation)
    return figure


def participation_caption(participation: Participation) -> str:
    """Say how to read the picture, and what a cell stands for where they were drawn together."""
    raster = _raster(participation, _order(participation))
    said = []
    if not raster.single:
        cell = f"{counted(raster.clients, 'client')} by {counted(raster.rounds, 'round')}"
        said.append(
            f"Too many to draw one by one: a cell stands for up to {cell}, the stronger its colour "
            f"the more were asked, full from {percent(raster.full, 0)}; its hue mixes answered and "
            "lost by their numbers."
        )
    if raster.clients > 1:
        said.append("The two profiles are means over the clients of a row.")
    if len(participation.clients) > _NAMED_ROWS:
        said.append("Clients that took part about equally often keep the order of the table.")
    said.append(
        "Lost: asked, but dropped out, late or refused. "
        "Staleness: rounds from a client's last answer to the end; all rounds where none came."
    )
    return " ".join(said)


def _order(participation: Participation) -> NDArray[np.int64]:
    """Keep the table's order while rows have names; beyond, put the most often present on top.

    Counts that chance alone may have set apart, within about their square root, stay in the
    table's order: so groups that come and go together are still seen.
    """
    if len(participation.clients) <= _NAMED_ROWS:
        return np.arange(len(participation.clients))
    return np.argsort(-np.floor(np.sqrt(participation.times)), kind="stable")


def _raster(participation: Participation, order: NDArray[np.int64]) -> _Raster:
    clients, rounds = len(participation.clients), participation.rounds
    high, wide = -(-clients // _MOST_ROWS), -(-rounds // _MOST_COLUMNS)
    place = np.empty(clients, np.int64)
    place[order] = np.arange(clients)
    rows, columns = place[participation.client] // high, (participation.round - 1) // wide
    shape = (-(-clients // high), -(-rounds // wide))
    heights = np.diff(np.append(np.arange(0, clients, high), clients))
    widths = np.diff(np.append(np.arange(0, rounds, wide), rounds))
    answered, lost = (
        np.bincount((rows * shape[1] + columns)[chosen], minlength=shape[0] * shape[1])
        .reshape(shape) / np.outer(heights, widths)
        for chosen in (participation.answered, ~participation.answered)
    )  # fmt: skip
    return _Raster(answered, lost, high, wide)


def _colors(raster: _Raster) -> NDArray[np.float64]:
    """Mix the hues by what came of the questions; pale where there were few."""
    blue, orange, pale = (np.array(to_rgb(name)) for name in (_ANSWERED, _LOST, _NOT_ASKED))
    asked = raster.answered + raster.lost
    lost = (raster.lost / np.where(asked > 0, asked, 1.0))[..., None]
    strength = np.minimum(asked / raster.full, 1.0)[..., None]
    mixed: NDArray[np.float64] = pale + strength * (blue + lost * (orange - blue) - pale)
    return mixed


def _name_rows(axes: Axes, participation: Participation, order: NDArray[np.int64]) -> None:
    clients, rounds = len(order), participation.rounds
    names = [style.plain(participation.clients[row], 24) for row in order]
    axes.set_yticks(range(clients), names)
    axes.tick_params(axis="y", labelcolor=style.INK)
    axes.set_yticks(np.arange(clients + 1) - 0.5, minor=True)
    axes.grid(which="minor", axis="y", color=style.PAPER, linewidth=1.6)
    axes.tick_params(which="minor", length=0)
    if rounds > _LINED_COLUMNS:
        return
    axes.set_xticks(np.arange(rounds + 1) + 0.5, minor=True)
    axes.grid(which="minor", axis="x", color=style.PAPER, linewidth=1.2)
    # Blue and orange are alike in grey print: a dot tells a lost reply there too.
    lost = ~participation.answered
    axes.scatter(
        participation.round[lost], participation.client[lost], s=9, color=style.PAPER, zorder=3
    )


def _bars(axes: Axes, values: NDArray[np.int64], written: list[str]) -> None:
    places = np.arange(len(values))
    axes.barh(places, values, height=0.62, color=style.FAINT)
    for place, value, text in zip(places, values, written, strict=True):
        axes.annotate(
            text, (value, place), (4, 0), textcoords="offset points", va="center",
            fontsize=style.SMALL, color=style.MUTED,
        )  # fmt: skip
    axes.set_xlim(0, 1.5 * max(1, int(values.max())))
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    _rows_only(axes, len(values))


def _profile(axes: Axes, values: NDArray[np.int64], step: int) -> None:
    edges = np.append(np.arange(0, len(values), step), len(values))
    means = np.add.reduceat(values, edges[:-1]) / np.diff(edges)
    axes.stairs(means, edges - 0.5, orientation="horizontal", fill=True, color=style.FAINT)
    axes.set_xlim(0, max(1, int(values.max())))
    _rows_only(axes, len(values))


def _rows_only(axes: Axes, rows: int) -> None:
    axes.set_ylim(rows - 0.5, -0.5)
    axes.set_yticks([])
    axes.grid(visible=False)


def _legend(figure: Figure, participation: Participation) -> None:
    asked = len(participation.client)
    answered = int(participation.answered.sum())
    cells = len(participation.clients) * participation.rounds
    handles = [
        Patch(color=_ANSWERED, label=f"answered {answered:,}"),
        Patch(color=_LOST, label=f"asked but lost {asked - answered:,}"),
        Patch(color=_NOT_ASKED, label=f"not asked {cells - asked:,}"),
    ]
    figure.legend(
        handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=style.SMALL,
        labelcolor=style.INK, handlelength=0.8, handleheight=0.8, columnspacing=1.6,
    )  # fmt: skip
