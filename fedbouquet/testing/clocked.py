"""An open exchange in numbers alone: clients of known speed, on a clock that a test can read."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite

from fedbouquet.testing.federation import CLIENTS, cut, round_context, update
from models.errors import BouquetError
from strategies.rounds.context import RoundContext
from strategies.transport.exchange import (
    Action,
    Arrival,
    Rejection,
    Reply,
    Request,
    Training,
)
from strategies.transport.roster import Roster


@dataclass(frozen=True)
class _Flight:
    request: Request
    base_round: int
    sent: float
    until: float


class ClockedExchange:
    """Clients c-0 to c-4; c-k takes k + 1 seconds, or what `seconds` says.

    Parameters
    ----------
    seconds : mapping, optional
        Seconds of a training, by client.
    silent : collection of str
        Clients that never answer.
    failing : collection of str
        Clients whose answers are rejected as they come.

    Attributes
    ----------
    asked : list of (str, int, float)
        Client, base round and second of every training so far.
    """

    virtual = True

    def __init__(
        self,
        seconds: Mapping[str, float] | None = None,
        silent: Collection[str] = (),
        failing: Collection[str] = (),
    ) -> None:
        where: RoundContext = round_context(clients=CLIENTS)
        self._roster = where.roster
        self._seconds = {c: float(k + 1) for k, c in enumerate(self._roster.ids)} | {
            **(seconds or {})
        }
        self.silent, self.failing = silent, failing
        self._now = 0.0
        self._flights: dict[str, _Flight] = {}
        self._over: list[Training] = []
        self.asked: list[tuple[str, int, float]] = []

    @property
    def roster(self) -> Roster:
        """Five clients on one node."""
        return self._roster

    def refresh(self) -> None:
        """Nobody comes or goes."""

    def exchange(
        self,
        action: Action,
        clients: Sequence[str],
        build: Callable[[str], Request],
        *,
        server_round: int,
        timeout: float,
    ) -> Iterator[Reply | Rejection]:
        """Answer at once; it costs no time."""
        for client in clients:
            yield self._answer(build(client), server_round, train=action == "train")

    def now(self) -> float:
        """Return the second."""
        return self._now

    def set_clock(self, seconds: float) -> None:
        """Set the second."""
        self._now = seconds

    @property
    def under_way(self) -> Mapping[str, int]:
        """Who is training, and since which round."""
        return {client: flight.base_round for client, flight in self._flights.items()}

    def send(
        self,
        clients: Sequence[str],
        build: Callable[[str], Request],
        *,
        server_round: int,
        timeout: float,
        sent: float | None = None,
    ) -> None:
        """Let clients train."""
        second = self._now if sent is None else sent
        for client in clients:
            if client in self._flights:
                raise BouquetError(f"{client} would train twice at once")
            self._flights[client] = _Flight(build(client), server_round, second, second + timeout)
            if sent is None:
                self.asked.append((client, server_round, second))

    def next(self, until: float) -> Sequence[Arrival]:
        """Go to the next answers, at most to a second."""
        ends = {client: self._end(client, flight) for client, flight in self._flights.items()}
        first = min(ends.values(), default=until)
        if first > until or not ends:
            self._now = until if isfinite(until) else self._now
            return []
        self._now = max(self._now, first)
        came = [client for client in self._roster.ids if ends.get(client) == first]
        return [self._arrival(client, self._flights.pop(client)) for client in came]

    def release(self, clients: Sequence[str]) -> None:
        """Forget about clients."""
        for client in clients:
            flight = self._flights.pop(client)
            self._over.append(
                Training(client, flight.base_round, flight.sent, self._now, "released")
            )

    def trainings(self) -> Sequence[Training]:
        """Return what ended since this was called last."""
        over, self._over = self._over, []
        return over

    def _end(self, client: str, flight: _Flight) -> float:
        done = flight.sent + self._seconds[client]
        return flight.until if client in self.silent else min(done, flight.until)

    def _arrival(self, client: str, flight: _Flight) -> Arrival:
        item = self._answer(flight.request, flight.base_round, train=True)
        if self._now >= flight.until:
            item = Rejection(client, flight.base_round, "timeout", "no answer")
        elif client in self.failing:
            item = Rejection(client, flight.base_round, "nonfinite", "a NaN")
        outcome = "answered" if isinstance(item, Reply) else item.code
        self._over.append(Training(client, flight.base_round, flight.sent, self._now, outcome))
        start = flight.request.arrays if isinstance(item, Reply) else None
        return Arrival(item, flight.base_round, flight.sent, self._now, start)

    def _answer(self, request: Request, server_round: int, *, train: bool) -> Reply | Rejection:
        """Return random numbers that depend on client and round, of the kind that is wanted."""
        item = update(int(request.client.rpartition("-")[2]), seed=server_round)
        arrays = cut(item.arrays, request.reply_schema) if train else None
        metrics = {"train_loss": 1.0} if train else {"accuracy": 0.5}
        reply = Reply(request.client, "c-0", arrays, item.num_examples, metrics)
        return replace(reply, notes=item.notes)
