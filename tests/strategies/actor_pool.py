"""Flower's simulation as far as a dying worker shows it: ticks, a queue, a pile of idle workers."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence

from flwr.app import ConfigRecord, Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from hostile_clients import EXAMPLES, SCHEMA, trained

from fedbouquet.testing import LocalGrid
from models.messages import PackHeader, pack_results
from models.results import ClientResult
from strategies.transport.client_grid import ClientGrid
from strategies.transport.hello import Registrar
from strategies.transport.preparation import Preparation


class ActorPool(LocalGrid):
    """Nodes that share workers; some die while they work.

    A tick is a pull: it hands out one message of each node, to the worker that came back last, as
    Flower does. A message given to a dead worker fails in the same tick.

    Parameters
    ----------
    app : ClientApp
    nodes : sequence of mapping
    workers : int
    ticks : callable
        ``number of the message -> ticks`` that a living worker takes.
    fatal : collection of int
        Numbers of the training messages, from 1, that kill whoever works on them.
    poison : str
        A client whose training kills whoever works on it.

    Attributes
    ----------
    dead : set of int
        Workers.
    lost : int
        Messages that failed.
    """

    def __init__(
        self,
        app: ClientApp,
        nodes: Sequence[dict[str, str | int | float | bool]],
        workers: int,
        ticks: Callable[[int], int],
        fatal: Collection[int] = (),
        poison: str = "",
    ) -> None:
        super().__init__(app, nodes)
        self._idle = list(range(workers))
        self.dead: set[int] = set()
        self._queues: dict[int, deque[Message]] = {node: deque() for node in self.nodes}
        self._busy: list[tuple[int, int, bool, Message]] = []  # worker, ticks left, dies, message
        self._ticks = ticks
        self._fatal = frozenset(fatal)
        self._poison = poison
        self._trainings = self._taken = 0
        self.lost = 0

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Put messages into their nodes' queues."""
        ids = []
        for message in messages:
            message.metadata.__dict__["_message_id"] = f"m-{len(self.sent)}"
            self.sent.append((message.metadata.message_type, message.metadata.dst_node_id))
            self._queues[message.metadata.dst_node_id].append(message)
            ids.append(message.metadata.message_id)
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Let one tick pass, then return the answers that are there."""
        self._tick()
        return super().pull_messages(message_ids)

    def _tick(self) -> None:
        taken = []
        for queue in self._queues.values():
            if queue and self._idle:
                taken.append((self._idle.pop(), queue.popleft()))
        for worker, message in taken:
            self._taken += 1
            if worker in self.dead:
                self._fail(worker, message)
            else:
                dies = self._kills(message)
                self._busy.append((worker, self._ticks(self._taken), dies, message))
        still = []
        for worker, left, dies, message in self._busy:
            if left > 0:
                still.append((worker, left - 1, dies, message))
            elif dies:
                self.dead.add(worker)
                self._fail(worker, message)
            else:
                self._answers[message.metadata.message_id] = self._answer(message)
                self._idle.append(worker)
        self._busy = still

    def _kills(self, message: Message) -> bool:
        if message.metadata.message_type != "train":
            return False
        self._trainings += 1
        if self._trainings in self._fatal:
            return True
        return (
            bool(self._poison) and self._poison in PackHeader.from_content(message.content).clients
        )

    def _fail(self, worker: int, message: Message) -> None:
        self.lost += 1
        words = f"The actor died unexpectedly.\n\tactor_id: {worker:032x}\n\tpid: 1"
        error = Error(code=0, reason=f"<class 'ActorDiedError'>:<'{words}'>")
        self._answers[message.metadata.message_id] = Message(error, reply_to=message)
        self._idle.append(worker)


def simulated(
    clients: int,
    nodes: int,
    workers: int,
    ticks: Callable[[int], int],
    fatal: Collection[int] = (),
    poison: str = "",
    absent: Collection[str] = (),
) -> tuple[ClientGrid, ActorPool]:
    """A client grid over nodes that share workers; who is `absent` when asked answers an error."""
    app = ClientApp()

    def say(message: Message, content: dict[str, object]) -> Message:
        config = ConfigRecord({"answer": json.dumps(content)})
        return Message(RecordDict({"config": config}), reply_to=message)

    @app.query("hello")
    def hello(message: Message, context: Context) -> Message:
        ids = range(int(context.node_config["first"]), clients, nodes)
        cards = [
            {"client": f"c-{i}", "examples": EXAMPLES + i, "test_examples": 5, "kind": "text"}
            for i in ids
        ]
        told = {"base": "b", "code": "x", "persistent": True, "workers": max(1, workers // nodes)}
        return say(message, {"clients": cards, **told})

    @app.query("prepare")
    def prepare(message: Message, context: Context) -> Message:
        return say(message, {"base": "b"})

    @app.train()
    def train(message: Message, context: Context) -> Message:
        pack = PackHeader.from_content(message.content).open({SCHEMA.hash: SCHEMA})
        results = []
        for place, name in enumerate(pack.clients):
            number = int(name[2:])
            arrays = trained(number, pack.of(place)[0])
            told = {"train_loss": 1 / (number + 3)}
            done = ClientResult(name, EXAMPLES + number, told, {}, arrays)
            results.append(ClientResult(name, error=("gone", "")) if name in absent else done)
        return Message(pack_results(results, pack.wire, pack.server_round), reply_to=message)

    @app.evaluate()
    def evaluate(message: Message, context: Context) -> Message:
        pack = PackHeader.from_content(message.content).open({SCHEMA.hash: SCHEMA})
        results = [
            ClientResult(name, 5, {"accuracy": 0.5, "loss": 1 / (int(name[2:]) + 3)})
            for name in pack.clients
        ]
        return Message(pack_results(results, pack.wire, pack.server_round), reply_to=message)

    below = ActorPool(app, [{"first": i} for i in range(nodes)], workers, ticks, fatal, poison)
    registrar = Registrar(below, {}, "x")
    registrar.gather(clients)
    registrar.prepare(Preparation("{}", "p", "b"))
    return ClientGrid(registrar.grid, registrar, SCHEMA, pack_bytes=SCHEMA.size * 4 * 2), below
