"""What is known of each client's data by gradient inversion, and whether it still helps.

Disp[a, b] = sum |a - b|      over what two trainings added to one start
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np

from models.inversion.training import ClientTraining, Pace, Search, Synthetic
from models.schema import Vector
from strategies.state import State


@dataclass(frozen=True)
class Download:
    """What a client came back from.

    Attributes
    ----------
    start : ndarray, shape (size,)
        What it was sent.
    delta : ndarray, shape (size,)
        What it added.
    pace : Pace
        How it trained.
    """

    start: Vector
    delta: Vector
    pace: Pace


@dataclass(frozen=True)
class _Known:
    """D_rec of a client, and the update that it was sought for."""

    data: Synthetic
    delta: Vector


class Inversions:
    """The clients' D_rec, and whose updates are not converted any more.

    Parameters
    ----------
    training : ClientTraining
    count : int
        Inputs in D_rec.
    cold, warm : Search
        A client's first search, and one that begins where the last one ended.
    """

    def __init__(self, training: ClientTraining, count: int, cold: Search, warm: Search) -> None:
        self._training = training
        self._count = count
        self._cold, self._warm = cold, warm
        self._known: dict[str, _Known] = {}
        self.switched: set[str] = set()

    def compare(self, client: str, came: Download) -> None:
        """Switch a client back whose last conversion was further off than its raw update."""
        known = self._known.get(client)
        if known is None:
            return
        e1 = _disparity(self._training.update(came.start, known.data, came.pace), came.delta)
        e2 = _disparity(known.delta, came.delta)
        if not e1 <= e2:
            del self._known[client]
            self.switched.add(client)

    def recovered(
        self, client: str, came: Download, draw: np.random.Generator
    ) -> tuple[Synthetic, float] | None:
        """Return D_rec, and Disp of its update over that of none, in [0, 1).

        None where the client was switched back, or the data found are no better than none.
        """
        norm = float(np.abs(came.delta).sum())
        if client in self.switched or norm == 0:
            return None
        known = self._known.pop(client, None)
        first = known.data if known else self._training.drawn(self._count, draw)
        search = self._warm if known else self._cold
        data = self._training.recovered(came.start, came.delta, came.pace, first, search)
        fit = _disparity(self._training.update(came.start, data, came.pace), came.delta) / norm
        if not fit < 1:
            return None
        self._known[client] = _Known(data, came.delta)
        return data, fit

    def forget(self, client: str) -> None:
        """Let go of a client."""
        self._known.pop(client, None)
        self.switched.discard(client)

    def state(self) -> State:
        """Return all there is: what is known is in it, and with it in the checkpoints."""
        known = self._known.values()
        return State(
            {
                "data": np.array([one.data.flat() for one in known], np.float32),
                "deltas": np.array([one.delta for one in known], np.float32),
            },
            {"clients": json.dumps(list(self._known)), "back": json.dumps(sorted(self.switched))},
        )

    def restore(self, state: State) -> None:
        """Take `state`'s result back."""
        clients = json.loads(str(state.values["clients"]))
        shapes = self._training.drawn(self._count, np.random.default_rng(0))
        rows = zip(clients, state.arrays["data"], state.arrays["deltas"], strict=True)
        self._known = {name: _Known(shapes.like(data), delta) for name, data, delta in rows}
        self.switched = set(json.loads(str(state.values["back"])))


def _disparity(a: Vector, b: Vector) -> float:
    return float(np.abs(a.astype(np.float64) - b).sum())
