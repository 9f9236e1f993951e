"""Trainings under way on a virtual clock, in order of the second at which each counts."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from strategies.transport.exchange import Rejection, Reply, Request


@dataclass
class Flight:
    """One client's training under way.

    Attributes
    ----------
    request : Request
    base_round : int
    sent : float
        The second at which it was asked.
    ends : float
        The second at which its answer counts, or at which it is given up.
    item : Reply, Rejection or None
        The answer; None while the training was not run.
    """

    request: Request
    base_round: int
    sent: float
    ends: float
    item: Reply | Rejection | None = None

    @property
    def client(self) -> str:
        """Whose it is."""
        return self.request.client


class Flights:
    """All trainings under way, at most one a client."""

    def __init__(self) -> None:
        self._by_client: dict[str, Flight] = {}
        self._bases: dict[str, int] = {}
        self._untrained: dict[str, Flight] = {}
        # A client that was released leaves its entry behind; it is passed over.
        self._queue: list[tuple[float, int, Flight]] = []
        self._count = 0

    def __contains__(self, client: object) -> bool:
        return client in self._by_client

    def __len__(self) -> int:
        return len(self._by_client)

    @property
    def bases(self) -> Mapping[str, int]:
        """The base round of each client's training; it changes as they come and go."""
        return MappingProxyType(self._bases)

    def add(self, flight: Flight) -> None:
        """Add one; its client must not have another."""
        self._by_client[flight.client] = flight
        self._bases[flight.client] = flight.base_round
        if flight.item is None:
            self._untrained[flight.client] = flight
        self._push(flight)

    @property
    def next_end(self) -> float | None:
        """The second at which the next one ends; None if there is none."""
        while (
            self._queue and self._by_client.get(self._queue[0][2].client) is not (self._queue[0][2])
        ):
            heapq.heappop(self._queue)
        return self._queue[0][0] if self._queue else None

    def due(self) -> list[Flight]:
        """Return those that end next, all at one second; they stay until `take`."""
        second = self.next_end
        found: list[Flight] = []
        while second is not None and self.next_end == second:
            found.append(heapq.heappop(self._queue)[2])
        for flight in found:
            self._push(flight)
        return found

    def untrained(self) -> list[Flight]:
        """Return those whose training was not run, in the order in which they were sent."""
        return list(self._untrained.values())

    def answered(self, client: str, item: Reply | Rejection) -> None:
        """Note what came of a client's training."""
        self._by_client[client].item = item
        self._untrained.pop(client, None)

    def take(self, clients: Iterable[str]) -> list[Flight]:
        """Remove and return the trainings of those clients that have one."""
        taken = [self._by_client.pop(client) for client in clients if client in self._by_client]
        for flight in taken:
            self._untrained.pop(flight.client, None)
            del self._bases[flight.client]
        return taken

    def _push(self, flight: Flight) -> None:
        self._count += 1  # unique, so that flights themselves are never compared
        heapq.heappush(self._queue, (flight.ends, self._count, flight))
