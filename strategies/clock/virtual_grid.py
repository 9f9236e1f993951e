"""A grid on a virtual clock: training really runs, its result counts when it would have come.

Trainings are put off until the first of them is needed; then all that were sent and not yet run
leave in one exchange, so that they are packed and run in parallel as ever. When an answer counts
follows from the request alone (`Scenario.seconds`), so that neither machine nor scheduler shows.
Evaluations cost no virtual time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from models.errors import BouquetError
from models.messages import COLLECT
from strategies.clock.flights import Flight, Flights
from strategies.clock.scenario import Scenario
from strategies.participation import ByClock
from strategies.transport.client_nodes import ClientNodes, client_node_id
from strategies.transport.exchange import (
    ANSWERED,
    RELEASED,
    Action,
    Arrival,
    Rejection,
    Reply,
    Request,
    Training,
)
from strategies.transport.roster import Roster
from strategies.transport.screening import Asked

_WAITING = 3
_REAL_TIMEOUT = 86_400.0
"""Seconds for which the trainings themselves are waited for: a virtual timeout says nothing."""


class VirtualGrid(ClientNodes):
    """Clients as nodes on a virtual clock; an `OpenExchange`, and a Flower ``Grid``.

    Parameters
    ----------
    grid : ClientNodes
        Runs the trainings: a `ClientGrid`.
    scenario : Scenario
        How fast clients are, and when they are there.

    Attributes
    ----------
    presence : ByClock
        Who is there now: the participation of a loop on this clock.
    """

    virtual = True

    def __init__(self, grid: ClientNodes, scenario: Scenario) -> None:
        super().__init__(grid, grid.schema, grid.gate)
        self._inner = grid
        self._scenario = scenario
        self._now = 0.0
        self._flights = Flights()
        self._ended: list[Training] = []
        self._looks = 0
        self.presence: ByClock = scenario.presence(self.now)

    @property
    def roster(self) -> Roster:
        """The clients known now."""
        return self._inner.roster

    def refresh(self) -> None:
        """Greet nodes that came, mark those that went."""
        self._inner.refresh()

    def now(self) -> float:
        """Return the virtual seconds since the run began."""
        return self._now

    def set_clock(self, seconds: float) -> None:
        """Set the clock of a run that is resumed, before anything is sent."""
        self._now = seconds

    def get_node_ids(self) -> Iterable[int]:
        """Return who is there now, as node ids, in roster order.

        Flower's strategies look twice, to count and to sample, and then again until there are
        enough: who looks a third time without having asked anybody waits, and the clock goes on to
        the next second at which others may be there.
        """
        self.refresh()
        self._looks += 1
        if self._looks >= _WAITING:
            self._now = self._next_change()
        clients = [self.roster[client] for client in self.roster.reachable]
        there = self.presence.available(0, clients)
        return [client_node_id(client.id) for client in clients if client.id in there]

    # ---- all who are asked are waited for ------------------------------------------------

    def exchange(
        self,
        action: Action,
        clients: Sequence[str],
        build: Callable[[str], Request],
        *,
        server_round: int,
        timeout: float,
    ) -> Iterator[Reply | Rejection]:
        """Ask clients, yield one answer or rejection for each; see `Exchange.exchange`.

        Training sets the clock to the last answer, or to the timeout if one is missing then;
        with nobody to ask, to the next second at which somebody may be there.
        """
        self._looks = 0
        free = action == "evaluate" or (clients and COLLECT in build(clients[0]).config)
        if free:
            yield from self._inner.exchange(
                action, clients, build, server_round=server_round, timeout=_REAL_TIMEOUT
            )
            return
        begin = self._now
        last = begin if clients else self._next_change()
        ends: dict[str, float] = {}
        gone: set[str] = set()
        for client in filter(self.roster.is_reachable, clients):
            ends[client], lost = self._outcome(build(client), server_round, begin, timeout)
            if lost is not None:
                gone.add(client)
                last = max(last, ends[client])
                self._end(lost, server_round, begin, ends[client])
                yield lost
        answers = self._inner.exchange(
            action,
            [client for client in clients if client not in gone],
            build,
            server_round=server_round,
            timeout=_REAL_TIMEOUT,
        )
        for item in answers:
            end = ends.get(item.client, begin)
            last = max(last, end)
            self._end(item, server_round, begin, end)
            yield item
        self._now = last

    def _outcome(
        self, request: Request, base_round: int, begin: float, timeout: float
    ) -> tuple[float, Rejection | None]:
        """Return the second at which an answer counts, and a rejection where none ever comes."""
        client = self.roster[request.client]
        latest = begin + timeout
        end = begin + self._scenario.seconds(request, begin, self.roster)
        if self.presence.lost(client, begin, min(end, latest)):
            said = "left in mid-round, as the scenario says"
            return latest, Rejection(client.id, base_round, "dropout", said)
        if end > latest:
            said = f"no answer in {timeout:g} s of the virtual clock; it takes {end - begin:.4g} s"
            return latest, Rejection(client.id, base_round, "timeout", said)
        return end, None

    # ---- not all who are asked are waited for --------------------------------------------

    @property
    def under_way(self) -> Mapping[str, int]:
        """The clients who are training, and the round in which each was sent its start."""
        return self._flights.bases

    def send(
        self,
        clients: Sequence[str],
        build: Callable[[str], Request],
        *,
        server_round: int,
        timeout: float,
        sent: float | None = None,
    ) -> None:
        """Ask clients to train, and return at once; see `OpenExchange.send`."""
        begin = self._now if sent is None else sent
        if sent is None:  # what is sent again belongs to rounds that are over
            self.gate.open_round(server_round)
        twice = [client for client in clients if client in self._flights]
        if twice:
            raise BouquetError(f"'{twice[0]}' is still training and cannot be asked again yet")
        for client in clients:
            request = build(client)
            end, lost = self._outcome(request, server_round, begin, timeout)
            self._flights.add(Flight(request, server_round, begin, end, lost))

    def next(self, until: float) -> Sequence[Arrival]:
        """Go to the next answers, at most to a second of the clock; see `OpenExchange.next`.

        Before the next answer the clock stops where other clients may be there.
        """
        second = self._flights.next_end
        stop = min(until, self.presence.next_change(self._now))
        if second is None or second > stop:
            if math.isfinite(stop):
                self._now = max(self._now, stop)
            return ()
        due = self._flights.due()
        if any(flight.item is None for flight in due):
            self._train()
        self._now = max(self._now, second)
        # Mostly there is one, and putting in order costs as much as there are clients.
        ordered = self.roster.in_order(due) if len(due) > 1 else due
        self._flights.take(flight.client for flight in ordered)
        return [self._arrival(flight) for flight in ordered]

    def release(self, clients: Sequence[str]) -> None:
        """Wait no longer for clients; what they still answer is dropped."""
        for flight in self._flights.take(clients):
            ended = Training(flight.client, flight.base_round, flight.sent, self._now, RELEASED)
            self._ended.append(ended)

    def trainings(self) -> Sequence[Training]:
        """Return the trainings that ended since this was called last, in order of their end."""
        ended, self._ended = self._ended, []
        return sorted(self.roster.in_order(ended), key=lambda training: training.arrived)

    def _arrival(self, flight: Flight) -> Arrival:
        item, start = flight.item, flight.request.arrays
        if isinstance(item, Reply):
            asked = Asked(flight.client, "train", flight.base_round, start)
            item = self.gate.limit(item, asked)
        if item is None:
            item = Rejection(flight.client, flight.base_round, "missing", "nothing came back")
        self._end(item, flight.base_round, flight.sent, flight.ends)
        given = start if isinstance(item, Reply) else None
        return Arrival(item, flight.base_round, flight.sent, flight.ends, given)

    def _train(self) -> None:
        """Run all trainings that were sent and not yet run, each base round's in one exchange."""
        rounds: dict[int, dict[str, Request]] = {}
        for flight in self._flights.untrained():
            rounds.setdefault(flight.base_round, {})[flight.client] = flight.request
        with self.gate.put_off():
            for base_round, requests in sorted(rounds.items()):
                order = [request.client for request in self.roster.in_order(requests.values())]
                for item in self._inner.exchange(
                    "train",
                    order,
                    requests.__getitem__,
                    server_round=base_round,
                    timeout=_REAL_TIMEOUT,
                ):
                    self._flights.answered(item.client, item)

    def _end(self, item: Reply | Rejection, base_round: int, sent: float, arrived: float) -> None:
        outcome = item.code if isinstance(item, Rejection) else ANSWERED
        self._ended.append(Training(item.client, base_round, sent, arrived, outcome))

    def _next_change(self) -> float:
        """Return the next second at which others may be there; now, if there is none."""
        change = self.presence.next_change(self._now)
        return change if math.isfinite(change) else self._now
