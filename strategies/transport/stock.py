"""Flower's usual messages: one client a node, ``arrays``, ``config``, ``metrics``."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from flwr.app import ConfigRecord, Message, RecordDict
from flwr.serverapp import Grid

from models.errors import ClientError
from models.records import from_stock, record_bytes, to_stock
from models.schema import NamedArrays, Schema
from strategies.transport.exchange import Action, Rejection, Reply, Request
from strategies.transport.polling import pull_all
from strategies.transport.roster import Client, Node, Roster
from strategies.transport.screening import check_update, check_weight


def read_stock(
    message: Message, client: str, server_round: int, expected: Schema | None
) -> Reply | Rejection:
    """Read a plain reply.

    Parameters
    ----------
    message : Message
        With one ArrayRecord (unless `expected` is None) and one MetricRecord.
    client : str
        Who answers.
    server_round : int
    expected : Schema or None
        What the arrays must hold; None for an evaluation.
    """
    if message.has_error():
        return Rejection(client, server_round, "client-app", "the ClientApp failed")
    try:
        metric_records = list(message.content.metric_records.values())
        if len(metric_records) != 1:
            raise ClientError("keys", f"expected one MetricRecord, found {len(metric_records)}")
        metrics = metric_records[0]
        examples = check_weight(metrics.get("num-examples"), None)
        arrays: NamedArrays | None = None
        size = 0
        if expected is not None:
            records = list(message.content.array_records.values())
            if len(records) != 1:
                raise ClientError("keys", f"expected one ArrayRecord, found {len(records)}")
            size = record_bytes(records[0])
            found = from_stock(records[0], dict(expected.facts))
            differences = expected.differences(found.schema)
            if differences:
                raise ClientError("schema", "; ".join(differences[:3]))
            check_update(found)
            arrays = found
        return Reply(
            client,
            stream="",
            arrays=arrays,
            num_examples=examples,
            metrics=finite_metrics(metrics),
            bytes_up=size,
        )
    except ClientError as error:
        return Rejection(client, server_round, error.code_name, error.detail)


def finite_metrics(metrics: Mapping[str, object]) -> dict[str, float]:
    """Keep the finite numbers; the loss of a plain ClientApp goes by several names."""
    kept = {
        key: float(value)
        for key, value in metrics.items()
        if isinstance(value, int | float) and math.isfinite(value) and key != "num-examples"
    }
    if "train-loss" in kept:
        kept.setdefault("train_loss", kept["train-loss"])
    for other, name in (("eval_loss", "loss"), ("eval_acc", "accuracy")):
        if other in kept:
            kept.setdefault(name, kept[other])
    return kept


class StockExchange:
    """Every node of a plain grid is one client, called by its node id."""

    def __init__(self, grid: Grid) -> None:
        self._grid = grid
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
            schema = requests[client].reply_schema if action == "train" else None
            answers[client] = read_stock(message, client, server_round, schema)
        for client in clients:
            late = Rejection(client, server_round, "timeout", f"no answer in {timeout:g} s")
            yield answers.get(client, late)
