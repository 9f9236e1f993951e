"""Trainings under way on the real clock: who answers when is theirs, not the round's."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite

from models.errors import BouquetError
from strategies.transport.dispatcher import Dispatcher, poller_for
from strategies.transport.exchange import Arrival, Rejection, Reply, Request, Training
from strategies.transport.lanes import Lane, Parcel, Pool
from strategies.transport.packing import Pack
from strategies.transport.roster import Node, Roster

_LOOK_AGAIN = 5.0
"""Seconds after which `OpenDispatcher.next` returns, so that nodes that came are noticed."""


class OpenLane(Lane):
    """One node's packs, whose answers are given as they come."""

    sent: int = 0

    @property
    def has_room(self) -> bool:
        """What waits for its turn here is nothing: every answer is given at once."""
        return bool(self.packs) and len(self.under_way) + len(self.lost) < self.window

    def came(self) -> Iterator[tuple[int, list[Reply | Rejection]]]:
        """Yield the answers that are there, by the number of their pack."""
        for number in sorted(self.answered):
            yield number, self.answered.pop(number)


@dataclass(frozen=True)
class Flight:
    """One client's training under way.

    Attributes
    ----------
    request : Request
    base_round : int
    sent, until : float
        Seconds of the clock: when it was asked, and when it is given up.
    node : int
        Flower's id; 0 where its node could not be reached.
    number : int
        Of its pack, on that node.
    """

    request: Request
    base_round: int
    sent: float
    until: float
    node: int = 0
    number: int = -1


class OpenDispatcher:
    """An `OpenExchange`'s part of a client grid.

    Parameters
    ----------
    dispatcher : Dispatcher
        Sends the packs and reads what comes back.
    roster : Roster
    clock : callable
        Monotonic seconds.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        roster: Roster,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._dispatcher = dispatcher
        self._roster = roster
        self._clock = clock
        self._origin = clock()
        self._shared = Pool([], shared=True)
        self._alone: dict[int, Pool] = {}
        self._lanes: dict[int, OpenLane] = {}
        self._flights: dict[str, Flight] = {}
        self._over: list[Training] = []

    def now(self) -> float:
        """Return the seconds since the run began."""
        return self._clock() - self._origin

    def set_clock(self, seconds: float) -> None:
        """Set the clock."""
        self._origin = self._clock() - seconds

    @property
    def under_way(self) -> Mapping[str, int]:
        """The clients who are training, and their base rounds."""
        return {client: flight.base_round for client, flight in self._flights.items()}

    def send(
        self,
        clients: Sequence[str],
        build: Callable[[str], Request],
        *,
        server_round: int,
        timeout: float,
    ) -> None:
        """Ask clients to train; see `OpenExchange.send`."""
        twice = [client for client in clients if client in self._flights]
        if twice:
            raise BouquetError(f"'{twice[0]}' is still training; wait for it, or release it")
        requests = {client: build(client) for client in clients}
        now = self.now()
        for client, request in requests.items():
            self._flights[client] = Flight(request, server_round, now, now + timeout)
        here = [client for client in clients if self._roster.is_reachable(client)]
        for packs in self._dispatcher.packs(here, requests.__getitem__).values():
            for pack in packs:
                self._enqueue(pack, server_round)
        self._send_leaving()

    def next(self, until: float) -> list[Arrival]:
        """Wait for the next answers; see `OpenExchange.next`."""
        began = self.now()
        poller = poller_for(self._roster)
        while True:
            self._send_leaving()
            self._dispatcher.collect(self._pools)
            arrivals = [*self._answered(), *self._given_up()]
            now = self.now()
            if arrivals:
                return self._roster.in_order(arrivals)
            idle = not self._flights and not isfinite(until)
            if idle or now >= until or now - began >= _LOOK_AGAIN:
                return []
            poller.rest(time.monotonic() + min(until - now, _LOOK_AGAIN))

    def release(self, clients: Sequence[str]) -> None:
        """Wait no longer for clients; those whose pack has not left are not asked at all."""
        for client in clients:
            flight = self._flights.pop(client)
            self._note(client, flight, "released")
        self._prune()

    def trainings(self) -> list[Training]:
        """Return the trainings that ended since this was called last."""
        over, self._over = self._over, []
        return over

    # ---- lanes ---------------------------------------------------------------------------

    @property
    def _pools(self) -> list[Pool]:
        return [*self._alone.values(), self._shared]

    def _enqueue(self, pack: Pack, server_round: int) -> None:
        lane = self._lane(pack.node)
        lane.packs.append(Parcel(lane.sent, pack, "train", server_round))
        for client in pack.clients:
            self._flights[client] = replace(
                self._flights[client], node=pack.node.id, number=lane.sent
            )
        lane.sent += 1

    def _lane(self, node: Node) -> OpenLane:
        if node.id not in self._lanes:
            lane = self._lanes[node.id] = OpenLane(deque(), window=2 * max(1, node.workers))
            if node.persistent:
                self._shared.lanes = [*self._shared.lanes, lane]
            else:
                self._alone[node.id] = Pool([lane], shared=False)
        return self._lanes[node.id]

    def _send_leaving(self) -> None:
        for pool in self._pools:
            self._dispatcher.send_leaving(pool, lambda client: self._flights[client].request)

    def _answered(self) -> Iterator[Arrival]:
        """Yield what came of those who are waited for."""
        now = self.now()
        for node_id, lane in self._lanes.items():
            for number, answers in lane.came():
                for item in answers:
                    flight = self._flights.get(item.client)
                    if flight is None or (flight.node, flight.number) != (node_id, number):
                        continue
                    del self._flights[item.client]
                    yield self._over_with(item, flight, now)

    def _given_up(self) -> Iterator[Arrival]:
        """Yield the rejections of those whose node went away, or whose time is up."""
        now = self.now()
        for client, flight in list(self._flights.items()):
            if flight.node not in self._roster.nodes:
                code, detail = "unreachable", "its node is not connected"
            elif now >= flight.until:
                code, detail = "timeout", f"no answer in {flight.until - flight.sent:g} s"
            else:
                continue
            del self._flights[client]
            yield self._over_with(Rejection(client, flight.base_round, code, detail), flight, now)
        self._prune()

    def _over_with(self, item: Reply | Rejection, flight: Flight, now: float) -> Arrival:
        answered = isinstance(item, Reply)
        outcome = "answered" if isinstance(item, Reply) else item.code
        self._note(item.client, flight, outcome)
        start = flight.request.arrays if answered else None
        return Arrival(item, flight.base_round, flight.sent, now, start)

    def _note(self, client: str, flight: Flight, outcome: str) -> None:
        self._over.append(Training(client, flight.base_round, flight.sent, self.now(), outcome))

    def _prune(self) -> None:
        """Drop packs that nobody waits for, so that they take no other pack's place."""
        wanted = {(flight.node, flight.number) for flight in self._flights.values()}
        for node_id, lane in self._lanes.items():
            lane.packs = deque(self._still_wanted(lane.packs))
            lane.lost = deque(self._still_wanted(lane.lost))
            lane.under_way = {
                message_id: (parcel, requests)
                for message_id, (parcel, requests) in lane.under_way.items()
                if (node_id, parcel.number) in wanted
            }

    def _still_wanted(self, parcels: deque[Parcel]) -> Iterator[Parcel]:
        """Yield parcels with those of their clients that are waited for; none without any."""
        for parcel in parcels:
            place = (parcel.pack.node.id, parcel.number)
            clients = tuple(
                client
                for client in parcel.pack.clients
                if client in self._flights
                and (self._flights[client].node, self._flights[client].number) == place
            )
            if clients:
                yield replace(parcel, pack=replace(parcel.pack, clients=clients))
