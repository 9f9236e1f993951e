"""What the report draws of a clustering: the tree, and how alike the clients' updates were."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from strategies.base import State

Float64 = npt.NDArray[np.float64]
MOST_CLIENTS = 500
"""With more, nothing could be seen, and the square would be large."""


@dataclass(frozen=True)
class Drawing:
    """A clustering of some round.

    Attributes
    ----------
    clients : tuple of str
        Row i of the similarity is client i; so is point i of the tree.
    similarity : ndarray, shape (n, n)
        Cosines.
    linkage : ndarray, shape (n - 1, 4) or (0, 4)
        SciPy's linkage matrix; without rows where there is no tree.
    leaves : tuple of str
        The clients in the tree's order.
    cut : float
        Height of the cut.
    """

    clients: tuple[str, ...]
    similarity: Float64
    linkage: Float64
    leaves: tuple[str, ...] = ()
    cut: float = 0.0

    def to_dict(self) -> dict[str, object]:
        """Return JSON values."""
        found: dict[str, object] = {
            "clients": list(self.clients),
            "similarity": np.round(self.similarity, 6).tolist(),
        }
        if len(self.linkage):
            found |= {
                "linkage": self.linkage.tolist(),
                "leaves": list(self.leaves),
                "cut": self.cut,
            }
        return found

    def state(self) -> State:
        """Return all of it."""
        names = json.dumps([self.clients, self.leaves])
        arrays = {"similarity": self.similarity.reshape(-1), "linkage": self.linkage.reshape(-1)}
        return State(arrays, {"names": names, "cut": self.cut})

    @classmethod
    def of_state(cls, state: State) -> Drawing | None:
        """Take `state`'s result back; None where nothing was drawn."""
        if "names" not in state.values:
            return None
        clients, leaves = json.loads(str(state.values["names"]))
        square = state.arrays["similarity"].astype(np.float64).reshape(len(clients), len(clients))
        linkage = state.arrays["linkage"].astype(np.float64).reshape(-1, 4)
        cut = float(state.values["cut"] or 0.0)
        return cls(tuple(clients), square, linkage, tuple(leaves), cut)


def worth_drawing(clients: Sequence[str]) -> bool:
    """Say whether there are clients to draw, and not too many."""
    return 0 < len(clients) <= MOST_CLIENTS
