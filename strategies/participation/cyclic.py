"""Day and night: client i is there for a fixed part of each period."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from strategies.participation.base import CommonOptions, number_of
from strategies.participation.rated import Rated
from strategies.transport.roster import Client


class CyclicOptions(CommonOptions):
    """The period and where in it clients begin."""

    period: int = Field(default=10, ge=1, le=1_000_000, description="Rounds in a period.")
    offset: Literal["random", "number"] = Field(
        default="random",
        description="Where in the period a client begins: a draw, or by its number.",
    )


class Cyclic(Rated):
    """p_i is the part of the period, rounded to whole rounds and at least one."""

    about: ClassVar[str] = "each client is there for a fixed part of each period"
    Options: ClassVar[type[CommonOptions]] = CyclicOptions
    options: CyclicOptions

    def is_there(self, server_round: int, client: Client) -> bool:
        phase = server_round - 1 + self._offset(client.id)
        return phase % self.options.period < self._rounds_there(client)

    def availability(self, client: Client) -> float:
        return self._rounds_there(client) / self.options.period

    def _rounds_there(self, client: Client) -> int:
        return max(1, round(self.options.period * self.share(client)))

    def _offset(self, client: str) -> int:
        number = number_of(client)
        if self.options.offset == "number" and number is not None:
            return number
        return int(self.chance("offset", client) * self.options.period)
