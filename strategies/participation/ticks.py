"""Availability by the second: a participation model whose rounds are ticks of a clock.

What a model says of round k holds from second ``(k - 1) tick`` to ``k tick``. So one scenario
serves rounds and clocks, and a day has 24 hours however many rounds are trained in it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from strategies.participation.base import Model
from strategies.transport.roster import Client

_MICROSECONDS = 1_000_000


class ByClock:
    """A `Participation` that looks at the clock, not at the round's number.

    Parameters
    ----------
    model : Model
    tick : float
        Seconds that the model's round lasts.
    now : callable
        Seconds on the clock.
    """

    def __init__(self, model: Model, tick: float, now: Callable[[], float]) -> None:
        self._model = model
        self._tick = model.tick or tick
        self._now = now

    @property
    def everybody(self) -> bool:
        """Whether every client is there at all times and none drops out."""
        return self._model.everybody

    def available(self, server_round: int, clients: Sequence[Client]) -> frozenset[str]:
        """Return the ids of those who are there now."""
        return self._model.available(self._at(self._now()), clients)

    def moment(self, server_round: int) -> int:
        """Return a number that changes where others may be there now."""
        return self._model.moment(self._at(self._now()))

    def drops_out(self, server_round: int, client: str) -> bool:
        """Return False: on a clock a client that leaves is one that never answers."""
        return False

    def probability(self, client: Client) -> float | None:
        """Return the long-run probability of answering when asked; None where it is unknown."""
        return self._model.probability(client)

    def lost(self, client: Client, begin: float, end: float) -> bool:
        """Say whether a client asked at second `begin` leaves before it answers at `end`."""
        if self.everybody:
            return False
        if self._model.drops_out(round(begin * _MICROSECONDS), client.id):
            return True
        return not self._model.stays(self._at(begin), self._at(end), client)

    def next_change(self, second: float) -> float:
        """Return the next second at which other clients may be there; infinite if never."""
        later = self._model.next_change(self._at(second))
        return math.inf if later is None else (later - 1) * self._tick

    def _at(self, second: float) -> int:
        """Return the model's round at a second."""
        number = 1 + math.floor(second / self._tick)
        # The quotient of a tick's own second may be rounded to below it.
        return number + 1 if number * self._tick <= second else number
