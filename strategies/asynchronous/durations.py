"""How long each client usually takes, learned as the run goes."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np

from strategies.state import State


class Durations:
    """The mean seconds from download to answer, two numbers a client."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[float, float]] = {}

    def took(self, seconds: Mapping[str, float]) -> None:
        """Hear how long clients took; what is not above 0 says nothing."""
        for client, duration in seconds.items():
            if duration > 0:
                total, count = self._known.get(client, (0.0, 0.0))
                self._known[client] = (total + duration, count + 1)

    def of(self, client: str) -> float | None:
        """Return a client's tau_i; None while it was not heard."""
        if client not in self._known:
            return None
        total, count = self._known[client]
        return total / count

    def rate(self, clients: int) -> float:
        """Return sum_j 1/tau_j over so many clients; who was not heard counts as the mean."""
        rates = [count / total for total, count in self._known.values()]
        return clients * float(np.mean(rates)) if rates else 0.0

    def forget(self, client: str) -> None:
        """Let go of a client."""
        self._known.pop(client, None)

    def state(self) -> State:
        """Return all there is."""
        table = np.array(list(self._known.values()), np.float64).reshape(-1)
        return State({"durations": table}, {"clients": json.dumps(list(self._known))})

    def restore(self, state: State) -> None:
        """Take `state`'s result back."""
        names = json.loads(str(state.values["clients"]))
        table = state.arrays["durations"].reshape(len(names), 2)
        self._known = {
            name: (float(total), float(count))
            for name, (total, count) in zip(names, table, strict=True)
        }
