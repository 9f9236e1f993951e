"""What a virtual clock knows of the clients: their devices, their work, and when they are there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from models.records import WireDtype, schema_bytes, wire_bytes
from strategies.clock.population import Population
from strategies.clock.work import LocalWork
from strategies.participation import Always, ByClock, Model
from strategies.transport.exchange import Request
from strategies.transport.roster import Roster


@dataclass(frozen=True)
class Scenario:
    """Who the clients are on a virtual clock.

    Attributes
    ----------
    population : Population
        Their devices.
    participation : Model
        When they are there; its rounds are ticks of the clock.
    work : LocalWork
        What a round is where a request does not say.
    wire : {"float32", "float16", "bfloat16"}
        Dtype in which arrays travel.
    """

    population: Population
    participation: Model = field(default_factory=Always)
    work: LocalWork = field(default_factory=LocalWork)
    wire: WireDtype = "float32"

    def presence(self, now: Callable[[], float]) -> ByClock:
        """Return who is there on a clock."""
        return ByClock(self.participation, self.population.options.tick, now)

    def seconds(self, request: Request, second: float, roster: Roster) -> float:
        """Return how long a client takes from download to answer.

        Parameters
        ----------
        request : Request
        second : float
            When it is asked.
        roster : Roster
        """
        client = roster[request.client]
        down = wire_bytes(request.arrays, self.wire) + request.bytes_beside
        up = schema_bytes(request.reply_schema, self.wire)
        examples = self.work.examples(client, request.config, roster)
        took = self.population.device(client).seconds(examples, down, up)
        return took * self.population.jitter(request.client, second)
