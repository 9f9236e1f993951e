"""Flower's usual messages: one client a node, ``arrays``, ``config``, ``metrics``."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from flwr.app import ConfigRecord, Message, RecordDict
from flwr.serverapp import Grid

from models.errors import ClientError
from models.records import record_bytes, screened_stock, to_stock
from models.results import ClientResult
from models.schema import Schema
from strategies.transport.exchange import Action, Rejection, Reply, Request
from strategies.transport.polling import pull_all
from strategies.transport.roster import Client, Node, Roster
from strategies.transport.screening import Asked, Gate


def read_stock(
    message: Message, asked: Asked, expected: Schema | None, gate: Gate
) -> Reply | Rejection:
    """Read a plain reply.

    Parameters
    ----------
    message : Message
        With one MetricRecord and, for training, one ArrayRecord.
    asked : Asked
        Who answers what.
    expected : Schema or None
        What the arrays must hold; None for an evaluation.
    gate : Gate
    """
    if message.has_error():
        return asked.rejection(ClientError("client-app", "the ClientApp failed"))
    try:
        content = message.content
        metrics = list(content.metric_records.values())
        if len(metrics) != 1:
            raise ClientError("keys", f"expected one MetricRecord, found {len(metrics)}")
        arrays, size = None, 0
        if expected is not None:
            records = list(content.array_records.values())
            if len(records) != 1:
                raise ClientError("keys", f"expected one ArrayRecord, found {len(records)}")
            arrays, size = screened_stock(records[0], expected), record_bytes(records[0])
    except ClientError as error:
        return asked.rejection(error)
    result = ClientResult(asked.client, metrics[0].get("num-examples"), metrics[0], arrays=arrays)
    return gate.admit(result, asked, bytes_up=size)


class StockExchange:
    """Every node of a plain grid is one client, called by its node id.

    Parameters
    ----------
    grid : Grid
    gate : Gate, optional
        By default one that records norms.
    """

    def __init__(self, grid: Grid, gate: Gate | None = None) -> None:
        self._grid = grid
        self._gate = gate or Gate()
        self._roster = Roster()
        self.refresh()

    @property
    def roster(self) -> Roster:
        """The nodes connected now, each one client."""
        return self._roster

    def refresh(self) -> None:
        """Look who is connected."""
        present = set(self._grid.get_node_ids())
        for gone in set(self._roster.nodes) - present:
            self._roster.leave(gone)
        for node in present - set(self._roster.nodes):
            self._roster.join(Node(node, str(node)), [Client(str(node), node)])

    def exchange(
        self,
        action: Action,
        clients: Sequence[str],
        build: Callable[[str], Request],
        *,
        server_round: int,
        timeout: float,
    ) -> Iterator[Reply | Rejection]:
        """Send one plain message a client; see `Exchange.exchange`."""
        deadline = time.monotonic() + timeout
        if action == "train":
            self._gate.open_round(server_round)
        requests = {client: build(client) for client in clients}
        messages = []
        for client, request in requests.items():
            config = ConfigRecord({**request.config, "server-round": server_round})
            content = RecordDict({"arrays": to_stock(request.arrays), "config": config})
            messages.append(Message(content, self._roster[client].node, action))
        ids = list(self._grid.push_messages(messages))
        waiting = dict(zip(ids, clients, strict=True))
        answers: dict[str, Reply | Rejection] = {}
        for message in pull_all(self._grid, waiting, deadline):
            client = waiting[message.metadata.reply_to_message_id]
            request = requests[client]
            asked = Asked(client, action, server_round, request.arrays)
            expected = request.reply_schema if action == "train" else None
            answers[client] = read_stock(message, asked, expected, self._gate)
        for client in clients:
            late = Rejection(client, server_round, "timeout", f"no answer in {timeout:g} s")
            yield answers.get(client, late)
