"""Flower's side of a grid in which every client is a node.

Whatever carries requests to clients, strategies that know only Flower's ``Grid`` run on top of it.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from uuid import uuid4

from flwr.app import ArrayRecord, ConfigRecord, Error, Message, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.supercore.run import Run

from models.errors import BouquetError
from models.records import from_stock, to_stock
from models.schema import NamedArrays, Schema
from strategies.participation import Participation
from strategies.transport.exchange import Action, Rejection, Reply, Request
from strategies.transport.roster import Roster
from strategies.transport.screening import Gate


def client_node_id(client: str) -> int:
    """Return the stable number (63 bits) under which a client appears as a Flower node."""
    return int.from_bytes(hashlib.sha256(client.encode()).digest()[:8], "big") >> 1


class ClientNodes(Grid, ABC):
    """A Flower grid over an `Exchange`: plain messages to clients become its requests.

    Parameters
    ----------
    below : Grid
        The one whose run this is.
    schema : Schema
        What clients train.
    gate : Gate
        What every answer passes.

    Attributes
    ----------
    presence : Participation or None
        Who is there when, where a scenario says so.
    """

    presence: Participation | None = None

    def __init__(self, below: Grid, schema: Schema, gate: Gate) -> None:
        self._below = below
        self.schema = schema
        self.gate = gate
        self._pushed: dict[str, Message] = {}
        self._answers: dict[str, Message] = {}

    @property
    @abstractmethod
    def roster(self) -> Roster:
        """The clients known now."""

    @abstractmethod
    def now(self) -> float:
        """Return the seconds on the clock that timeouts are measured with."""

    @abstractmethod
    def refresh(self) -> None:
        """Notice nodes that came or went."""

    @abstractmethod
    def exchange(
        self,
        action: Action,
        clients: Sequence[str],
        build: Callable[[str], Request],
        *,
        server_round: int,
        timeout: float,
    ) -> Iterator[Reply | Rejection]:
        """Ask clients, yield one answer or rejection for each; see `Exchange.exchange`."""

    def set_run(self, run: Run) -> None:
        """Set the run, on the grid below."""
        self._below.set_run(run)

    @property
    def run(self) -> Run:
        """The run of the grid below."""
        return self._below.run

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        """Make a message to a client (deprecated in Flower; use ``Message``)."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> Iterable[int]:
        """Return the reachable clients as node ids, in roster order."""
        self.refresh()
        return [client_node_id(client) for client in self.roster.reachable]

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Take plain messages to clients; they leave with the next `pull_messages`."""
        ids = []
        for message in messages:
            message_id = str(uuid4())
            message.metadata.__dict__["_message_id"] = message_id
            self._pushed[message_id] = message
            ids.append(message_id)
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Return the answers that are there, running what was pushed if need be."""
        wanted = list(message_ids)
        if any(i in self._pushed for i in wanted):
            self._run_pushed(timeout=3600.0)
        return [self._answers.pop(i) for i in wanted if i in self._answers]

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Send plain messages to clients and return their plain answers."""
        ids = list(self.push_messages(messages))
        self._run_pushed(timeout=timeout if timeout is not None else 1e9)
        return [self._answers.pop(i) for i in ids if i in self._answers]

    def _run_pushed(self, timeout: float) -> None:
        pushed, self._pushed = self._pushed, {}
        names = {client_node_id(c): c for c in self.roster.ids}
        deadline = self.now() + timeout
        # A plain message may hold the same record object for all clients; it is read once.
        read: dict[int, NamedArrays] = {}
        by_kind: dict[tuple[str, int], dict[str, Message]] = {}
        for message in pushed.values():
            client = names.get(message.metadata.dst_node_id)
            if client is None:
                raise BouquetError(f"no client has node id {message.metadata.dst_node_id}")
            kind = message.metadata.message_type.partition(".")[0]
            server_round = _round_of(message.content)
            by_kind.setdefault((kind, server_round), {})[client] = message
        for (kind, server_round), group in by_kind.items():
            action: Action = "train" if kind == "train" else "evaluate"

            def build(
                client: str, group: dict[str, Message] = group, action: Action = action
            ) -> Request:
                content = group[client].content
                record = next(iter(content.array_records.values()))
                if id(record) not in read:
                    read[id(record)] = self.typed(record)
                config = next(iter(content.config_records.values()), ConfigRecord())
                options = {
                    k: v for k, v in config.items() if isinstance(v, str | int | float | bool)
                }
                return Request(client, read[id(record)], options)

            order = [c for c in self.roster.ids if c in group]
            for item in self.exchange(
                action,
                order,
                build,
                server_round=server_round,
                timeout=max(0.0, deadline - self.now()),
            ):
                asked = group[item.client]
                self._answers[asked.metadata.message_id] = _plain_answer(asked, item)

    def typed(self, record: ArrayRecord) -> NamedArrays:
        """Read a plain record as arrays of the clients' schema, facts included.

        Raises
        ------
        BouquetError
            It holds other keys or shapes.
        """
        arrays = from_stock(record, dict(self.schema.facts))
        differences = self.schema.differences(arrays.schema)
        if differences:
            raise BouquetError("these arrays are not the clients': " + "; ".join(differences))
        return arrays


def _round_of(content: RecordDict) -> int:
    for config in content.config_records.values():
        if "server-round" in config:
            return int(config["server-round"])
    return 0


def _plain_answer(asked: Message, item: Reply | Rejection) -> Message:
    """Turn an answer into the message a plain ClientApp would have sent."""
    if isinstance(item, Rejection):
        return Message(Error(code=0, reason=f"{item.code}: {item.detail}"), reply_to=asked)
    metrics = MetricRecord({**item.metrics, "num-examples": item.num_examples})
    content = RecordDict({"metrics": metrics})
    if item.arrays is not None:
        content["arrays"] = to_stock(item.arrays)
    return Message(content, reply_to=asked)
