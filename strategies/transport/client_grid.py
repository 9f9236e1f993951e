"""A Flower ``Grid`` in which every client is a node.

Strategies, ours and Flower's own, address clients and never see packs or processes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from uuid import uuid4

from flwr.serverapp import Grid

from models.lora.base_change import BaseChanges
from models.messages import RunIdentity
from models.records import WireDtype
from models.schema import Schema
from strategies.transport.client_nodes import ClientNodes
from strategies.transport.dispatcher import Dispatcher
from strategies.transport.exchange import (
    Action,
    Arrival,
    Rejection,
    Reply,
    Request,
    Training,
)
from strategies.transport.flights import OpenDispatcher
from strategies.transport.hello import Registrar
from strategies.transport.roster import Roster
from strategies.transport.screening import Gate, NormRule


class ClientGrid(ClientNodes):
    """Clients as nodes, over a Flower grid whose nodes host many clients.

    Parameters
    ----------
    grid : Grid
        Flower's own.
    registrar : Registrar
        Greets nodes and prepares them; holds the roster.
    schema : Schema
        What clients train; checked on every answer.
    pack_bytes : int
        Most array bytes in a message.
    wire : {"float32", "float16", "bfloat16"}
        Dtype in which arrays travel.
    norm_rule : NormRule, optional
        What is done about updates far larger than usual.
    clock : callable
        Monotonic seconds.
    """

    virtual = False

    def __init__(
        self,
        grid: Grid,
        registrar: Registrar,
        schema: Schema,
        *,
        pack_bytes: int = 8 << 20,
        wire: WireDtype = "float32",
        norm_rule: NormRule | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(grid, schema, Gate(norm_rule))
        self._registrar = registrar
        self._dispatcher = Dispatcher(
            grid, registrar, pack_bytes=pack_bytes, wire=wire, gate=self.gate, schema=schema
        )
        self._open = OpenDispatcher(self._dispatcher, registrar.roster, clock)
        self.begin_run(uuid4().hex)

    @property
    def roster(self) -> Roster:
        """The clients known now."""
        return self._registrar.roster

    def refresh(self) -> None:
        """Greet nodes that came, mark those that went."""
        self._registrar.refresh()

    def begin_run(self, uid: str, oldest: int = 0, changes: BaseChanges | None = None) -> None:
        """Say whose personal state the clients read and keep from now on.

        Parameters
        ----------
        uid : str
            8 to 64 letters and digits; the same again where a run is resumed.
        oldest : int
            The oldest round that may be resumed; what only older ones need is let go of.
        changes : BaseChanges, optional
            What the method changes in the frozen base.
        """
        self._dispatcher.begin_run(RunIdentity(uid, oldest), changes)

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
        return self._dispatcher.exchange(
            action, clients, build, server_round=server_round, timeout=timeout
        )

    # ---- rounds that close before everybody has answered ------------------------------------

    def now(self) -> float:
        """Return the seconds since the run began."""
        return self._open.now()

    def set_clock(self, seconds: float) -> None:
        """Set the clock of a run that begins or goes on."""
        self._open.set_clock(seconds)

    @property
    def under_way(self) -> Mapping[str, int]:
        """The clients who are training, and the round in which each was sent its start."""
        return self._open.under_way

    def send(
        self,
        clients: Sequence[str],
        build: Callable[[str], Request],
        *,
        server_round: int,
        timeout: float,
        sent: float | None = None,
    ) -> None:
        """Ask clients to train, and return at once; see `OpenExchange.send`.

        On the real clock a client that is asked again after a pause has its whole time again, so
        `sent` only says that this opens no round.
        """
        if sent is None:
            self.gate.open_round(server_round)
        self._open.send(clients, build, server_round=server_round, timeout=timeout)

    def next(self, until: float) -> Sequence[Arrival]:
        """Wait for the next answers; see `OpenExchange.next`."""
        return self._open.next(until)

    def release(self, clients: Sequence[str]) -> None:
        """Wait no longer for clients."""
        self._open.release(clients)

    def trainings(self) -> Sequence[Training]:
        """Return the trainings that ended since this was called last."""
        return self._open.trainings()
