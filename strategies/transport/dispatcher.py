"""Below the client grid: packs leave under flow control, answers come back in a defined order."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from logging import WARNING

from flwr.app import ArrayRecord, Message
from flwr.serverapp import Grid
from flwr.supercore import log

from models.errors import ClientError, one_line
from models.lora.base_change import BaseChanges
from models.messages import NO_RUN, PackRequest, RunIdentity, unpack_results
from models.records import WireDtype, wire_bytes
from models.results import ClientResult
from models.schema import NamedArrays, Schema
from strategies.transport.exchange import Action, Rejection, Reply, Request
from strategies.transport.hello import Registrar
from strategies.transport.lanes import Lane, Loss, Parcel, Pool
from strategies.transport.packing import Pack, plan_packs
from strategies.transport.polling import Poller
from strategies.transport.screening import Asked, Gate

_WORKER = re.compile(r"actor_id: ([0-9a-f]+)")


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
    changes : BaseChanges or None
        What the method has changed in the frozen base.
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
        self.changes: BaseChanges | None = None
        # Newest version of the base that each node is known to have.
        self._has: dict[int, int] = {}
        self._known = (schema.hash,)
        self._grid = grid
        self._registrar = registrar
        self._pack_bytes = pack_bytes
        self._wire = wire
        self._gate = gate
        self._shared = _SharedStart()
        self._dead: set[str] = set()

    def begin_run(self, run: RunIdentity, changes: BaseChanges | None) -> None:
        """Say whose personal state, and whose changes of the base, messages are about."""
        if run.uid != self.run.uid:
            self._has = {}
        self.run, self.changes = run, changes

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
        samples = {roster[client].variant: client for client in reversed(here)}
        size = max(wire_bytes(build(c).arrays, self._wire) for c in samples.values())
        pools = _pools(plan_packs(roster, here, size, self._pack_bytes))
        lanes = [lane for pool in pools for lane in pool.lanes]
        stays = all(node.persistent for node in roster.nodes.values())
        poller = Poller(0.02) if stays else Poller(0.1, first=0.1, share=4)
        while not all(lane.done for lane in lanes):
            for pool in pools:
                for lane, parcel in pool.leaving():
                    self._send(lane, parcel, action, build, server_round)
                self._accompany(pool)
            came = self._collect(pools, action, server_round)
            for lane in lanes:
                yield from lane.in_turn()
            if came:
                poller.reset()
            elif time.monotonic() >= deadline:
                break
            else:
                poller.rest(deadline)
        for lane in lanes:
            yield from lane.late(server_round, timeout)

    def _send(
        self,
        lane: Lane,
        parcel: Parcel,
        action: Action,
        build: Callable[[str], Request],
        server_round: int,
    ) -> None:
        pack = parcel.pack
        requests = {client: build(client) for client in pack.clients}
        arrays = [request.arrays for request in requests.values()]
        shared = all(item is arrays[0] for item in arrays)
        preparation = self._registrar.preparation
        version = max(request.base_version for request in requests.values())
        asked = PackRequest(
            plan=preparation.plan_hash if preparation else "",
            server_round=server_round,
            clients=pack.clients,
            arrays=tuple(arrays[:1] if shared else arrays),
            options=tuple(self._options(request) for request in requests.values()),
            wire=self._wire,
            run=self.run,
            base_version=version,
            changes=self._missing(pack.node.id, version),
        )
        beside = sum(len(data) for data in asked.changes.values()) // len(requests)
        if beside:
            requests = {c: replace(r, bytes_beside=beside) for c, r in requests.items()}
        buffer = self._shared.buffer_of(asked) if shared else None
        content = asked.to_content(buffer, self._known)
        (message_id,) = self._grid.push_messages([Message(content, pack.node.id, action)])
        lane.under_way[message_id] = (parcel, requests)

    def _options(self, request: Request) -> Mapping[str, str | int | float | bool]:
        """Return a client's options, with the base model that the server gave it."""
        variant = self._registrar.roster[request.client].variant
        return {**request.config, "variant": variant} if variant else request.config

    def _missing(self, node_id: int, version: int) -> dict[int, bytes]:
        """Return the changes of the base up to a version that a node is not known to have."""
        if self.changes is None:
            return {}
        first = self._has.get(node_id, 0) + 1
        return {number: self.changes.read(number) for number in range(first, version + 1)}

    def _accompany(self, pool: Pool) -> None:
        """Greet another node of the pool at the moment that a lost pack left alone."""
        alone = pool.company_for()
        others = [n.id for n in self._registrar.roster.nodes.values() if n.persistent]
        others = [node_id for node_id in others if node_id != alone]
        if alone is not None and others:
            pool.company.add(self._registrar.greet_again(others[0]))

    def _collect(self, pools: Sequence[Pool], action: Action, server_round: int) -> bool:
        company = {i: pool for pool in pools for i in pool.company}
        packs = {i: (pool, lane) for pool in pools for lane in pool.lanes for i in lane.under_way}
        came = False
        for message in self._grid.pull_messages([*packs, *company]):
            asked = message.metadata.reply_to_message_id
            if asked in company:
                company[asked].accompanied(asked, well=not message.has_error())
                continue
            if asked not in packs or asked not in packs[asked][1].under_way:
                continue
            pool, lane = packs[asked]
            came = True
            parcel, requests = lane.under_way.pop(asked)
            answers = self._read(message, parcel.pack, requests, action, server_round)
            if not message.has_error():
                pool.came_back()
            if isinstance(answers, ClientError):
                if pool.lose(lane, parcel, self._loss(message)):
                    if answers.code_name == "unprepared":
                        self._has.pop(parcel.pack.node.id, None)
                        self._registrar.reprepare(parcel.pack.node.id)
                    continue
                clients = parcel.pack.clients
                answers = [Asked(c, action, server_round).rejection(answers) for c in clients]
            else:
                self._has[parcel.pack.node.id] = max(r.base_version for r in requests.values())
            lane.answered[parcel.number] = answers
        return came

    def _loss(self, message: Message) -> Loss:
        """Say how a pack was lost; Ray's errors name the worker, also when it was dead before."""
        if not message.has_error():
            return "unusable"
        named = _WORKER.search(str(message.error.reason))
        if named and named[1] in self._dead:
            return "untouched"
        self._dead.update(named.groups() if named else ())
        return "failed"

    def _read(
        self,
        message: Message,
        pack: Pack,
        requests: Mapping[str, Request],
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
        asked = Asked(
            request.client,
            action,
            server_round,
            start=request.arrays,
            declared=known.examples if action == "train" else known.test_examples,
            stream=pack.node.stream,
            bytes_down=wire_bytes(request.arrays, self._wire) + request.bytes_beside,
        )
        if result is None:
            return asked.rejection(ClientError("missing", "its node left it out of the answer"))
        size = wire_bytes(result.arrays, self._wire) if result.arrays is not None else 0
        return self._gate.admit(result, asked, bytes_up=size)


def _pools(planned: Mapping[int, Sequence[Pack]]) -> list[Pool]:
    """Make the lanes; nodes whose processes stay between messages share them (simulation)."""
    shared: list[Lane] = []
    pools = []
    for packs in planned.values():
        node = packs[0].node
        parcels = deque(Parcel(number, pack) for number, pack in enumerate(packs))
        lane = Lane(parcels, window=2 * max(1, node.workers))
        if node.persistent:
            shared.append(lane)
        else:
            pools.append(Pool([lane], shared=False))
    return [*pools, Pool(shared, shared=True)] if shared else pools
