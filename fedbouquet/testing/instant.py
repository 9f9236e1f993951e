"""Clients that answer at once, without any training: to test and measure what is around them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from flwr.clientapp import ClientApp

from fedbouquet.testing.grid import LocalGrid
from models.schema import NamedArrays
from strategies.transport.client_nodes import ClientNodes
from strategies.transport.exchange import Action, Rejection, Reply, Request
from strategies.transport.roster import Client, Node, Roster
from strategies.transport.screening import Gate


class InstantClients(ClientNodes):
    """Clients that answer with what they were sent, each number plus one.

    Parameters
    ----------
    clients : int
        How many there are: ``client-00000`` and so on.
    arrays : NamedArrays
        Of the schema that they train.
    examples : int
        What each of them holds.

    Attributes
    ----------
    asked : list of (int, tuple of str)
        Round and clients of every exchange.
    refused : frozenset of str
        Clients whose answer is a rejection.
    """

    def __init__(self, clients: int, arrays: NamedArrays, examples: int = 100) -> None:
        super().__init__(LocalGrid(ClientApp(), []), arrays.schema, Gate())
        self._roster = Roster()
        names = [f"client-{number:05d}" for number in range(clients)]
        everybody = [Client(name, 1, examples, examples, {}) for name in names]
        self._roster.join(Node(1, names[0]), everybody)
        self._moved: tuple[NamedArrays, NamedArrays] | None = None
        self.asked: list[tuple[int, tuple[str, ...]]] = []
        self.refused: frozenset[str] = frozenset()

    @property
    def roster(self) -> Roster:
        """The clients; they never change."""
        return self._roster

    def now(self) -> float:
        """Return 0: no time passes."""
        return 0.0

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
        """Yield one answer or rejection for each; see `Exchange.exchange`."""
        self.gate.open_round(server_round)
        self.asked.append((server_round, tuple(clients)))
        for client in clients:
            if client in self.refused:
                yield Rejection(client, server_round, "client-app", "failed")
            elif action == "train":
                arrays = self._plus_one(build(client).arrays)
                yield Reply(client, "", arrays, 100, {"train_loss": 1.0})
            else:
                yield Reply(client, "", None, 100, {"accuracy": 0.5, "loss": 1.0})

    def _plus_one(self, start: NamedArrays) -> NamedArrays:
        if self._moved is None or self._moved[0] is not start:
            self._moved = (start, start.replace(start.vector + start.vector.dtype.type(1)))
        return self._moved[1]
