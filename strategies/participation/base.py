"""What the round loop asks of a participation model, and the model in which everybody is there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from strategies.transport.roster import Client


class Participation(Protocol):
    """Who can answer in which round.

    The same seed gives the same answers, whatever was asked before and whoever else there is, so
    that a resumed run repeats itself.
    """

    @property
    def everybody(self) -> bool:
        """Whether this is no scenario at all: every client is there in every round."""

    def available(self, server_round: int, clients: Sequence[Client]) -> frozenset[str]:
        """Return the ids of those who are there when the round begins."""

    def drops_out(self, server_round: int, client: str) -> bool:
        """Say whether a client that was asked leaves in mid-round."""

    def probability(self, client: Client) -> float | None:
        """Return the long-run probability of answering when asked; None where it is unknown."""


class Always:
    """Everybody is there, always."""

    everybody = True

    def available(self, server_round: int, clients: Sequence[Client]) -> frozenset[str]:
        """Return all."""
        return frozenset(client.id for client in clients)

    def drops_out(self, server_round: int, client: str) -> bool:
        """Nobody leaves."""
        return False

    def probability(self, client: Client) -> float:
        """Return 1."""
        return 1.0
