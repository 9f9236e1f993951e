"""Who can be asked now, kept up as clients come and go rather than looked for at each event."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import overload

from strategies.rounds.context import RoundContext


class Idle(Sequence[str]):
    """Clients who are there and neither train nor wait for a round, in roster order.

    It changes as the round goes: an event costs the logarithm of the number of clients, and only
    where others may have come or gone all are looked at.
    """

    def __init__(self) -> None:
        self._moment: tuple[int, int] | None = None
        self._ids: Sequence[str] = ()
        self._places: Mapping[str, int] = {}
        self._there: frozenset[str] = frozenset()
        self._free: list[int] = []

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        if isinstance(index, slice):
            return [self._ids[place] for place in self._free[index]]
        return self._ids[self._free[index]]

    def __len__(self) -> int:
        return len(self._free)

    def look(self, context: RoundContext, busy: Callable[[], Collection[str]]) -> None:
        """Look at all clients, if others may be there than the last time.

        Parameters
        ----------
        context : RoundContext
            In which nobody is busy.
        busy : callable
            Gives those who train, wait, or are not to be asked for another reason.
        """
        roster = context.roster
        moment = (roster.version, context.participation.moment(context.round))
        if moment == self._moment:
            return
        self._moment = moment
        self._ids, self._places = roster.ids, roster.places
        there, now_busy = context.available, busy()
        self._there = frozenset(there)
        self._free = [self._places[client] for client in there if client not in now_busy]

    def took(self, clients: Iterable[str]) -> None:
        """Hear that clients are busy now."""
        for client in clients:
            index, found = self._find(client)
            if found:
                del self._free[index]

    def freed(self, clients: Iterable[str]) -> None:
        """Hear that clients are busy no longer."""
        for client in clients:
            index, found = self._find(client)
            if client in self._there and not found:
                self._free.insert(index, self._places[client])

    def _find(self, client: str) -> tuple[int, bool]:
        place = self._places.get(client, -1)
        index = bisect_left(self._free, place)
        return index, index < len(self._free) and self._free[index] == place
