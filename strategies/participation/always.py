"""Everybody is there in every round; only drop-out takes somebody away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from strategies.participation.base import CommonOptions, Model
from strategies.transport.roster import Client


class Always(Model):
    """Everybody is there, always.

    Parameters
    ----------
    options : CommonOptions, optional
    seed : int
    """

    about: ClassVar[str] = "everybody is there in every round"

    def __init__(self, options: CommonOptions | None = None, seed: int = 0) -> None:
        super().__init__(options or CommonOptions(), seed)
        self.everybody = self.options.dropout == 0

    def is_there(self, server_round: int, client: Client) -> bool:
        return True

    def availability(self, client: Client) -> float:
        return 1.0

    def available(self, server_round: int, clients: Sequence[Client]) -> frozenset[str]:
        """Return all."""
        return frozenset(client.id for client in clients)

    def moment(self, server_round: int) -> int:
        """Return 0: nobody comes or goes."""
        return 0

    def stays(self, first: int, last: int, client: Client) -> bool:
        return True

    def next_change(self, server_round: int) -> None:
        """Return None: everybody is there already."""
