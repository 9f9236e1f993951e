"""Clients that answer at once with what they were sent plus one, without any training."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from models.schema import NamedArrays
from strategies.transport.client_nodes import ClientNodes
from strategies.transport.exchange import Action, Rejection, Reply, Request
from strategies.transport.roster import Client, Node, Roster
from strategies.transport.screening import Gate


class NobodyTrains(ClientNodes):
    """Answers without clients.

    Attributes
    ----------
    asked : list of (int, tuple of str)
        Round and clients of every exchange.
    """

    def __init__(self, clients: int, arrays: NamedArrays, examples: int = 100) -> None:
        super().__init__(None, arrays.schema, Gate())  # type: ignore[arg-type]
        self._roster = Roster()
        names = [f"client-{number:05d}" for number in range(clients)]
        self._roster.join(
            Node(1, names[0]), [Client(name, 1, examples, examples, {}) for name in names]
        )
        self.asked: list[tuple[int, tuple[str, ...]]] = []
        self.refused: frozenset[str] = frozenset()

    @property
    def roster(self) -> Roster:
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
        self.gate.open_round(server_round)
        self.asked.append((server_round, tuple(clients)))
        for client in clients:
            if client in self.refused:
                yield Rejection(client, server_round, "client-app", "failed")
                continue
            start = build(client).arrays
            arrays = start.replace(start.vector + np.float32(1)) if action == "train" else None
            metrics = {"train_loss": 1.0} if action == "train" else {"accuracy": 0.5, "loss": 1.0}
            yield Reply(client, "", arrays, 100, metrics)
