"""Below the client grid: packs leave under flow control, answers come back in a defined order."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from flwr.app import ArrayRecord, Message
from flwr.serverapp import Grid

from models.errors import ClientError
from models.lora.base_change import BaseChanges
from models.messages import NO_RUN, PackRequest, RunIdentity
from models.records import WireDtype, wire_bytes
from models.schema import NamedArrays, Schema
from strategies.transport.exchange import Action, Rejection, Reply, Request
from strategies.transport.hello import Registrar
from strategies.transport.lanes import Lane, Loss, Parcel, Pool
from strategies.transport.pack_reader import PackReader, refused
from strategies.transport.packing import Pack, plan_packs
from strategies.transport.polling import Poller
from strategies.transport.roster import Roster
from strategies.transport.screening import Gate

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


def poller_for(roster: Roster) -> Poller:
    """Return how to wait for these nodes: a real one is asked over the network."""
    stays = all(node.persistent for node in roster.nodes.values())
    return Poller(0.02) if stays else Poller(0.1, first=0.1, share=4)


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
        self._reader = PackReader(registrar.roster, gate, wire)
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
        pools = _pools(self.packs(here, build), action, server_round)
        lanes = [lane for pool in pools for lane in pool.lanes]
        poller = poller_for(roster)
        while not all(lane.done for lane in lanes):
            for pool in pools:
                self.send_leaving(pool, build)
            came = self.collect(pools)
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

    def packs(
        self, clients: Sequence[str], build: Callable[[str], Request]
    ) -> dict[int, list[Pack]]:
        """Plan the packs of clients who can be reached, by node; a client of each size is built."""
        roster = self._registrar.roster
        samples = {roster[client].variant: client for client in reversed(clients)}
        sizes = [wire_bytes(build(client).arrays, self._wire) for client in samples.values()]
        return plan_packs(roster, clients, max(sizes, default=0), self._pack_bytes)

    def send_leaving(self, pool: Pool, build: Callable[[str], Request]) -> None:
        """Send the packs of a pool that may leave now."""
        for lane, parcel in pool.leaving():
            self._send(lane, parcel, build)
        self._accompany(pool)

    def _send(self, lane: Lane, parcel: Parcel, build: Callable[[str], Request]) -> None:
        pack = parcel.pack
        requests = {client: build(client) for client in pack.clients}
        arrays = [request.arrays for request in requests.values()]
        shared = all(item is arrays[0] for item in arrays)
        preparation = self._registrar.preparation
        version = max(request.base_version for request in requests.values())
        asked = PackRequest(
            plan=preparation.plan_hash if preparation else "",
            server_round=parcel.server_round,
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
        (message_id,) = self._grid.push_messages([Message(content, pack.node.id, parcel.action)])
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

    def collect(self, pools: Sequence[Pool]) -> bool:
        """Put what came into the lanes that wait for it; say whether anything did."""
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
            answers = self._reader.read(message, parcel, requests)
            if not message.has_error():
                pool.came_back()
            if isinstance(answers, ClientError):
                if pool.lose(lane, parcel, self._loss(message)):
                    if answers.code_name == "unprepared":
                        self._has.pop(parcel.pack.node.id, None)
                        self._registrar.reprepare(parcel.pack.node.id)
                    continue
                answers = refused(parcel, answers)
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


def _pools(planned: Mapping[int, Sequence[Pack]], action: Action, server_round: int) -> list[Pool]:
    """Make the lanes; nodes whose processes stay between messages share them (simulation)."""
    shared: list[Lane] = []
    pools = []
    for packs in planned.values():
        node = packs[0].node
        parcels = deque(Parcel(i, pack, action, server_round) for i, pack in enumerate(packs))
        lane = Lane(parcels, window=2 * max(1, node.workers))
        if node.persistent:
            shared.append(lane)
        else:
            pools.append(Pool([lane], shared=False))
    return [*pools, Pool(shared, shared=True)] if shared else pools
