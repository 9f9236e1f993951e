"""The tables of some rounds, for the map of how classes moved."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from models.prototypes.tables import Mask, Table
from strategies.base import State

_MOST = 12


class History:
    """Tables of at most about a dozen rounds, evenly spread over the run, the last among them.

    Attributes
    ----------
    rounds : mapping of int to ndarray, shape (C, D)
        By round; rows of classes that nobody had had are NaN.
    """

    def __init__(self) -> None:
        self.rounds: dict[int, Table] = {}

    def keep(self, server_round: int, num_rounds: int, values: Table, present: Mask) -> None:
        """Keep a round's table where its turn has come."""
        every = max(1, -(-num_rounds // _MOST))
        if server_round % every == 0 or server_round in (1, num_rounds):
            rows = np.where(present[:, None], values, np.nan)
            self.rounds[server_round] = rows.astype(np.float32)

    def state(self) -> State:
        """Return all tables; safetensors hold NaN as they are."""
        return State({f"{number:06d}": rows.reshape(-1) for number, rows in self.rounds.items()})

    def restore(self, state: State, shape: tuple[int, int]) -> None:
        """Take `state`'s result back."""
        self.rounds = {int(name): rows.reshape(shape) for name, rows in state.arrays.items()}

    def artifacts(self) -> Mapping[str, Table]:
        """Return the tables by name."""
        return {f"rounds/{number:06d}": rows for number, rows in sorted(self.rounds.items())}
