"""Who was in which cluster when, and how alike the clients' updates were."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

NOWHERE = -1


@dataclass(frozen=True, eq=False)
class Likeness:
    """What a clustering of some round saw.

    Attributes
    ----------
    clients : tuple of str
        Row i of the similarity, and point i of the tree.
    similarity : ndarray, shape (n, n) or (0, 0)
        Cosines.
    linkage : ndarray, shape (n - 1, 4) or (0, 4)
        SciPy's linkage matrix.
    cut : float
        Height of the cut.
    """

    clients: tuple[str, ...]
    similarity: NDArray[np.float64]
    linkage: NDArray[np.float64]
    cut: float


@dataclass(frozen=True, eq=False)
class Clusters:
    """Every client's cluster in every round.

    Attributes
    ----------
    clients : tuple of str
        By their last cluster, in it by concept; those that are in none last.
    concepts : tuple of str
        Each client's true concept, empty where it is not known.
    first : int
        Round of the first column.
    assignment : ndarray of int64, shape (clients, rounds)
        Numbers of clusters; `NOWHERE` where a client was in none.
    likeness : Likeness or None
        None where the run left no drawing.
    """

    clients: tuple[str, ...]
    concepts: tuple[str, ...]
    first: int
    assignment: NDArray[np.int64]
    likeness: Likeness | None = None

    @property
    def final(self) -> NDArray[np.int64]:
        """Each client's cluster in the end, shape (clients,)."""
        return self.assignment[:, -1]

    @property
    def last(self) -> int:
        """Round of the last column."""
        return self.first + len(self.assignment[0]) - 1

    @cached_property
    def numbers(self) -> tuple[int, ...]:
        """All clusters that ever had members."""
        found = np.unique(self.assignment)
        return tuple(int(number) for number in found if number != NOWHERE)

    @property
    def taken(self) -> tuple[int, ...]:
        """The clusters that have members in the end."""
        found = set(self.final.tolist())
        return tuple(number for number in self.numbers if number in found)

    @cached_property
    def moves(self) -> NDArray[np.bool_]:
        """Where a client's cluster is another than the last one it was in."""
        moved = np.zeros(self.assignment.shape, dtype=bool)
        before = self.assignment[:, 0].copy()
        for column in range(1, self.assignment.shape[1]):
            now = self.assignment[:, column]
            here = now != NOWHERE
            moved[:, column] = here & (before != NOWHERE) & (now != before)
            before[here] = now[here]
        return moved

    def members(self, number: int) -> list[str]:
        """Return who is in a cluster in the end."""
        return [self.clients[place] for place in np.flatnonzero(self.final == number)]
