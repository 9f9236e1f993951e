"""Below the client grid: packs leave under flow control, answers come back in a defined order."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from logging import WARNING

from flwr.app import ArrayRecord, Message
from flwr.serverapp import Grid
from flwr.supercore import log

from models.errors import ClientError, one_line
from models.messages import NO_RUN, PackRequest, unpack_results
from models.records import WireDtype
from models.results import ClientResult
from models.schema import NamedArrays, Schema
from strategies.transport.exchange import Action, Rejection, Reply, Request
from strategies.transport.hello import Registrar
from strategies.transport.packing import Pack, plan_packs
from strategies.transport.polling import Poller
from strategies.transport.screening import Asked, Gate

_ITEM_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}


@dataclass
class _Lane:
    """One node's packs: those to send, those under way, those answered but not their turn."""

    packs: deque[Pack]
    window: int
    under_way: dict[str, tuple[int, Pack, dict[str, Request]]] = field(default_factory=dict)
    answered: dict[int, list[Reply | Rejection]] = field(default_factory=dict)
    sent: int = 0
    given: int = 0
    retried: set[int] = field(default_factory=set)

    @property
    def done(self) -> bool:
        return not (self.packs or self.under_way or self.answered)

    @property
    def has_room(self) -> bool:
        """Answers that wait for their turn count too, so memory stays bounded."""
        return bool(self.packs) and self.sent - self.given < self.window


class _SharedStart:
    """The buffer of the start that a round's packs share, encoded once."""

    def __init__(self) -> None:
        self._of: NamedArrays | None = None
        self._buffer: ArrayRecord | None = None

    def buffer_of(self, request: PackRequest) -> ArrayRecord:
        if self._buffer is None or self._of is not request.arrays[0]:
            self._of, self._buffer = request.arrays[0], request.encoded()
        return self._buffer


class Dispatcher:
    """Sends requests as packs and yields screened answers.

    Parameters
    ----------
    grid : Grid
        Flower's own.
    registrar : Registrar
    pack_bytes : int
    wire : str
    gate : Gate
    schema : Schema
        The one that nodes have from their plan.

    Attributes
    ----------
    run : RunIdentity
        Whose personal state the clients keep.
    """

    def __init__(
        self,
        grid: Grid,
        registrar: Registrar,
        *,
        pack_bytes: int,
        wire: WireDtype,
        gate: Gate,
        schema: Schema,
    ) -> None:
        self.run = NO_RUN
        self._known = (schema.hash,)
        self._grid = grid
        self._registrar = registrar
        self._pack_bytes = pack_bytes
        self._wire = wire
        self._gate = gate
        self._shared = _SharedStart()

    def exchange(
        self,
        action: Action,
        clients: Sequence[str],
        build: Callable[[str], Request],
        *,
        server_round: int,
        timeout: float,
    ) -> Iterator[Reply | Rejection]:
        """Yield one answer or rejection for each client.

        Answers of one node come in client order, whatever order its packs finish in; at most two
        packs a worker are under way or waiting for their turn.
        """
        if action == "train":
            self._gate.open_round(server_round)
        roster = self._registrar.roster
        here = [client for client in clients if roster.is_reachable(client)]
        for client in clients:
            if not roster.is_reachable(client):
                yield Rejection(client, server_round, "unreachable", "its node is not connected")
        if not here:
            return
        deadline = time.monotonic() + timeout
        size = build(here[0]).arrays.schema.size * _ITEM_BYTES[self._wire]
        lanes = {
            node: _Lane(deque(packs), window=2 * max(1, packs[0].node.workers))
            for node, packs in plan_packs(roster, here, size, self._pack_bytes).items()
        }
        poller = Poller(0.02 if all(n.persistent for n in roster.nodes.values()) else 0.1)
        while not all(lane.done for lane in lanes.values()):
            for lane in lanes.values():
                while lane.has_room:
                    self._send(lane, lane.packs.popleft(), lane.sent, action, build, server_round)
            came = self._collect(lanes, action, build, server_round)
            for lane in lanes.values():
                while lane.given in lane.answered:
                    answers = lane.answered.pop(lane.given)
                    lane.given += 1
                    yield from answers
            if came:
                poller.reset()
            elif time.monotonic() >= deadline:
                break
            else:
                poller.rest(deadline)
        for lane in lanes.values():
            yield from _late(lane, server_round, timeout)

    def _send(
        self,
        lane: _Lane,
        pack: Pack,
        number: int,
        action: Action,
        build: Callable[[str], Request],
        server_round: int,
    ) -> None:
        requests = {client: build(client) for client in pack.clients}
        arrays = [request.arrays for request in requests.values()]
        shared = all(item is arrays[0] for item in arrays)
        preparation = self._registrar.preparation
        asked = PackRequest(
            plan=preparation.plan_hash if preparation else "",
            server_round=server_round,
            clients=pack.clients,
            arrays=tuple(arrays[:1] if shared else arrays),
            options=tuple(request.config for request in requests.values()),
            wire=self._wire,
            run=self.run,
        )
        buffer = self._shared.buffer_of(asked) if shared else None
        content = asked.to_content(buffer, self._known)
        (message_id,) = self._grid.push_messages([Message(content, pack.node.id, action)])
        lane.under_way[message_id] = (number, pack, requests)
        if number == lane.sent:
            lane.sent += 1

    def _collect(
        self,
        lanes: dict[int, _Lane],
        action: Action,
        build: Callable[[str], Request],
        server_round: int,
    ) -> bool:
        lane_of = {i: lane for lane in lanes.values() for i in lane.under_way}
        came = False
        for message in self._grid.pull_messages(list(lane_of)):
            asked = message.metadata.reply_to_message_id
            lane = lane_of.get(asked)
            if lane is None or asked not in lane.under_way:
                continue
            came = True
            number, pack, requests = lane.under_way.pop(asked)
            answers = self._read(message, pack, requests, action, server_round)
            if isinstance(answers, ClientError):
                if number not in lane.retried:
                    lane.retried.add(number)
                    if answers.code_name == "unprepared":
                        self._registrar.reprepare(pack.node.id)
                    self._send(lane, pack, number, action, build, server_round)
                    continue
                answers = [Asked(c, action, server_round).rejection(answers) for c in pack.clients]
            lane.answered[number] = answers
        return came

    def _read(
        self,
        message: Message,
        pack: Pack,
        requests: dict[str, Request],
        action: Action,
        server_round: int,
    ) -> list[Reply | Rejection] | ClientError:
        """Read a pack's answer; a ClientError where the whole pack was lost."""
        if message.has_error():
            reason = one_line(str(message.error.reason).partition(":")[0], 100)
            return ClientError("client-app", f"the node's process failed ({reason})")
        schemas: dict[str, Schema] = {}
        if action == "train":
            schemas = {client: request.reply_schema for client, request in requests.items()}
        try:
            answers = unpack_results(message.content, pack.clients, schemas, server_round)
        except ClientError as error:
            return error
        if answers.ignored:
            log(
                WARNING,
                "round %d: %d answers of clients that were not asked, or not twice: %s",
                *(server_round, len(answers.ignored), one_line(answers.ignored[0], 80)),
            )
        results = answers.results.values()
        if results and all(r.error and r.error[0] == "unprepared" for r in results):
            return ClientError("unprepared", "the node lost its plan")
        return [
            self._screen(answers.results.get(client), requests[client], pack, action, server_round)
            for client in pack.clients
        ]

    def _screen(
        self,
        result: ClientResult | None,
        request: Request,
        pack: Pack,
        action: Action,
        server_round: int,
    ) -> Reply | Rejection:
        known = self._registrar.roster[request.client]
        item = _ITEM_BYTES[self._wire]
        asked = Asked(
            request.client,
            action,
            server_round,
            start=request.arrays,
            declared=known.examples if action == "train" else known.test_examples,
            stream=pack.node.stream,
            bytes_down=request.arrays.schema.size * item,
        )
        if result is None:
            return asked.rejection(ClientError("missing", "its node left it out of the answer"))
        size = result.arrays.schema.size * item if result.arrays is not None else 0
        return self._gate.admit(result, asked, bytes_up=size)


def _late(lane: _Lane, server_round: int, timeout: float) -> Iterator[Reply | Rejection]:
    """Yield what is left of a lane when time is up: answers first, then who did not answer."""
    silent = [pack for _, pack, _ in sorted(lane.under_way.values(), key=lambda item: item[0])]
    for number in sorted(lane.answered):
        yield from lane.answered[number]
    for pack in (*silent, *lane.packs):
        for client in pack.clients:
            yield Rejection(client, server_round, "timeout", f"no answer in {timeout:g} s")
