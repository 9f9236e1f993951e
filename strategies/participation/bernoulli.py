"""Independent rounds: client i is there with probability p_i."""

from __future__ import annotations

from typing import ClassVar

from strategies.participation.rated import Rated
from strategies.transport.roster import Client


class Bernoulli(Rated):
    """Each client tosses its own coin in each round."""

    about: ClassVar[str] = "each client is there with its own probability, rounds independent"

    def is_there(self, server_round: int, client: Client) -> bool:
        return self.chance(server_round, client.id) < self.share(client)
