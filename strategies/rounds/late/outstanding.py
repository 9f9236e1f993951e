"""What outlives a round: the clients under way, with what they were sent, and updates that wait."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import groupby
from typing import Any

from models.schema import NamedArrays, Schema, Vector
from strategies.rounds.context import RoundContext
from strategies.state import State
from strategies.transport.exchange import Arrival, OpenExchange, Remark, Reply, Request


@dataclass(frozen=True)
class Sent:
    """What a client was asked, when, and in which round."""

    request: Request
    base_round: int
    sent: float


class Outstanding:
    """Sends, and remembers what was sent until it is over.

    Parameters
    ----------
    exchange : OpenExchange

    Attributes
    ----------
    waiting : dict
        Updates that no round has taken, by client in order of arrival.
    """

    def __init__(self, exchange: OpenExchange) -> None:
        self._exchange = exchange
        self._sent: dict[str, Sent] = {}
        self.waiting: dict[str, Arrival] = {}

    def send(
        self,
        clients: Sequence[str],
        build: Callable[[str], Request],
        context: RoundContext,
        timeout: float,
    ) -> None:
        """Ask clients to train; see `OpenExchange.send`."""
        now = self._exchange.now()

        def built(client: str) -> Request:
            request = build(client)
            self._sent[client] = Sent(request, context.round, now)
            return request

        self._exchange.send(clients, built, server_round=context.round, timeout=timeout)

    def came(self, arrival: Arrival) -> None:
        """Put an answer aside; with a rejection nothing is left of the training."""
        self._sent.pop(arrival.client, None)
        if isinstance(arrival.item, Reply):
            self.waiting[arrival.client] = arrival

    def forget(self, clients: Iterable[str]) -> None:
        """Drop what was sent to clients, and what waits of them."""
        for client in clients:
            self._sent.pop(client, None)
            self.waiting.pop(client, None)

    def state(self) -> State:
        """Return everything; each start once, however many clients train from it."""
        under_way = self._exchange.under_way
        self._sent = {client: sent for client, sent in self._sent.items() if client in under_way}
        starts = _Starts()
        out = [
            {
                "client": client,
                "base_round": sent.base_round,
                "sent": sent.sent,
                "start": starts.number(sent.request.arrays),
                "config": dict(sent.request.config),
                "reply": sent.request.reply.to_json() if sent.request.reply else None,
                "base_version": sent.request.base_version,
            }
            for client, sent in self._sent.items()
        ]
        waiting = [
            {
                "reply": _reply_values(arrival.item),
                "arrays": starts.number(arrival.item.arrays),
                "start": starts.number(arrival.start),
                "base_round": arrival.base_round,
                "sent": arrival.sent,
                "arrived": arrival.arrived,
            }
            for arrival in self.waiting.values()
            if isinstance(arrival.item, Reply)
        ]
        values = {"schemas": starts.schemas, "out": out, "waiting": waiting}
        return State(starts.vectors, {name: json.dumps(value) for name, value in values.items()})

    def restore(self, state: State, timeout: float) -> None:
        """Take `state`'s result back; who was under way is asked again."""
        raw = {k: json.loads(str(state.values[k])) for k in ("schemas", "out", "waiting")}
        starts = [
            NamedArrays(Schema.from_json(schema), state.arrays[str(number)])
            for number, schema in enumerate(raw["schemas"])
        ]
        for item in raw["waiting"]:
            reply = _reply(item["reply"], _numbered(starts, item["arrays"]))
            start = _numbered(starts, item["start"])
            times = (item["base_round"], item["sent"], item["arrived"])
            self.waiting[reply.client] = Arrival(reply, *times, start)
        for item in raw["out"]:
            request = Request(
                item["client"],
                starts[item["start"]],
                item["config"],
                Schema.from_json(item["reply"]) if item["reply"] else None,
                item["base_version"],
            )
            self._sent[request.client] = Sent(request, item["base_round"], item["sent"])
        together = groupby(self._sent.values(), lambda sent: (sent.base_round, sent.sent))
        for (base_round, second), group in together:
            self._exchange.send(
                [sent.request.client for sent in group],
                lambda client: self._sent[client].request,
                server_round=base_round,
                timeout=timeout,
                sent=second,
            )


class _Starts:
    """Arrays by number, each object once."""

    def __init__(self) -> None:
        self.vectors: dict[str, Vector] = {}
        self.schemas: list[str] = []
        self._numbers: dict[int, int] = {}

    def number(self, arrays: NamedArrays | None) -> int | None:
        if arrays is None:
            return None
        number = self._numbers.setdefault(id(arrays.vector), len(self._numbers))
        if number == len(self.schemas):
            self.vectors[str(number)] = arrays.vector
            self.schemas.append(arrays.schema.to_json())
        return number


def _numbered(starts: Sequence[NamedArrays], number: int | None) -> NamedArrays | None:
    return None if number is None else starts[number]


def _reply_values(reply: Reply) -> dict[str, object]:
    """Return a reply but for its arrays, as JSON values."""
    values = {f.name: getattr(reply, f.name) for f in fields(reply) if f.name != "arrays"}
    values |= {"metrics": dict(reply.metrics), "notes": dict(reply.notes)}
    return values | {"remarks": [remark.to_dict() for remark in reply.remarks]}


def _reply(values: Mapping[str, Any], arrays: NamedArrays | None) -> Reply:
    remarks = tuple(Remark(**remark) for remark in values["remarks"])
    return Reply(**{**values, "remarks": remarks}, arrays=arrays)
