"""Participation intervals: how often each client takes part, learned as the run goes.

Wang and Ji, "A Lightweight Method for Tackling Unknown Participation Statistics in Federated
Averaging", ICLR 2024, https://arxiv.org/abs/2306.03401, Algorithm 2. The weight omega_i is the mean
of client i's intervals so far (1 while there is none); an interval ends when it takes part, or
after K rounds without. The interval that ends now counts from the next participation on. 1/omega_i
estimates the probability p_i.
"""

from __future__ import annotations

import json
from collections.abc import Collection

import numpy as np

from strategies.base import State


class Intervals:
    """Three numbers a client, whatever the number of rounds.

    Parameters
    ----------
    cutoff : int
        K, the longest interval in rounds; 0 = none.
    """

    def __init__(self, cutoff: int = 0) -> None:
        self._cutoff = cutoff
        # Last participation, sum and number of intervals; rounds without are caught up with later.
        self._known: dict[str, tuple[int, float, int]] = {}

    def weight(self, client: str, server_round: int) -> float:
        """Return omega_i for a client that takes part in this round."""
        total, count, _ = self._until(client, server_round)
        return total / count if count else 1.0

    def ending(self, client: str, server_round: int) -> int:
        """Return the length of the interval that ends where a client takes part in this round."""
        last, _, _ = self._known.get(client, (0, 0.0, 0))
        return server_round - last

    def took_part(self, clients: Collection[str], server_round: int) -> None:
        """End the intervals of those who took part in a round."""
        for client in clients:
            total, count, missed = self._until(client, server_round)
            self._known[client] = (server_round, total + missed + 1, count + 1)

    def forget(self, client: str) -> None:
        """Let go of a client; if it returns it begins anew."""
        self._known.pop(client, None)

    def _until(self, client: str, server_round: int) -> tuple[float, int, int]:
        """Return sum and number of the intervals ended before a round, and what is left over."""
        last, total, count = self._known.get(client, (0, 0.0, 0))
        missed = server_round - last - 1
        if not self._cutoff:
            return total, count, missed
        ended, missed = divmod(missed, self._cutoff)
        return total + ended * self._cutoff, count + ended, missed

    def state(self) -> State:
        """Return all there is."""
        table = np.array(list(self._known.values()), np.float64).reshape(len(self._known), 3)
        return State({"intervals": table.reshape(-1)}, {"clients": json.dumps(list(self._known))})

    def restore(self, state: State) -> None:
        """Take `state`'s result back."""
        names = json.loads(str(state.values["clients"]))
        table = state.arrays["intervals"].reshape(len(names), 3)
        self._known = {
            name: (int(last), float(total), int(count))
            for name, (last, total, count) in zip(names, table, strict=True)
        }
