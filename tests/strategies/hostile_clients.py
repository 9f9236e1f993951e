"""Four clients, one of which answers whatever a test makes it answer; packed and plain."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from fedbouquet.testing import LocalGrid
from models.messages import PackHeader, pack_results
from models.records import to_stock
from models.results import ClientResult
from models.schema import NamedArrays, Schema
from strategies.fedavg import FedAvg
from strategies.rounds.loop import RoundLoop
from strategies.rounds.options import LoopOptions
from strategies.rounds.record import RoundRecord
from strategies.transport.client_grid import ClientGrid
from strategies.transport.exchange import Exchange
from strategies.transport.hello import Registrar
from strategies.transport.preparation import Preparation
from strategies.transport.screening import Gate, NormRule
from strategies.transport.stock import StockExchange

KEYS = ("a.lora_A", "m.lora_B", "z.head")  # first, middle and last
SCHEMA = Schema.of(
    {
        KEYS[0]: np.zeros((4, 8), np.float32),
        KEYS[1]: np.zeros((8, 4), np.float32),
        KEYS[2]: np.zeros(16, np.float32),
    },
    {"rank": 4, "scaling": 2.0, "base": "5ca1ab1e"},
)
CLIENTS = 4
BAD = 1
EXAMPLES = 10

Content = Callable[[RecordDict], RecordDict]
Result = Callable[[ClientResult], ClientResult]


def same(content: RecordDict) -> RecordDict:
    return content


def start() -> NamedArrays:
    return NamedArrays(SCHEMA, np.linspace(-1, 1, SCHEMA.size, dtype=np.float32))


def trained(client: int, begin: NamedArrays) -> NamedArrays:
    """Each client moves by its own direction, of norm about 0.01 x (client + 1)."""
    move = np.random.default_rng(client).normal(size=SCHEMA.size) * 0.001 * (client + 1)
    return begin.replace(begin.vector + move.astype(np.float32))


def packed(
    spoil: Content = same,
    result: Result = lambda done: done,
    *,
    pack_bytes: int = 1,
    rule: NormRule | None = None,
    action: str = "train",
    clock: Callable[[], float] = time.monotonic,
) -> ClientGrid:
    """A client grid over two nodes; `spoil` and `result` change what the bad client answers."""
    app = ClientApp()

    def say(message: Message, content: dict[str, object]) -> Message:
        config = ConfigRecord({"answer": json.dumps(content)})
        return Message(RecordDict({"config": config}), reply_to=message)

    @app.query("hello")
    def hello(message: Message, context: Context) -> Message:
        ids = range(int(context.node_config["first"]), CLIENTS, 2)
        cards = [
            {"client": f"c-{i}", "examples": EXAMPLES + i, "test_examples": 5, "kind": "text"}
            for i in ids
        ]
        return say(message, {"clients": cards, "base": "b", "code": "x"})

    @app.query("prepare")
    def prepare(message: Message, context: Context) -> Message:
        return say(message, {"base": "b"})

    def answer(message: Message, kind: str) -> Message:
        pack = PackHeader.from_content(message.content).open({SCHEMA.hash: SCHEMA})
        results = []
        for place, name in enumerate(pack.clients):
            client = int(name[2:])
            done = ClientResult(name, 5, {"accuracy": 0.5}, {"groups": {"sex": {"f": [2, 3]}}})
            if kind == "train":
                arrays = trained(client, pack.of(place)[0])
                done = ClientResult(name, EXAMPLES + client, {"train_loss": 0.5}, {}, arrays)
            results.append(result(done) if client == BAD and kind == action else done)
        content = pack_results(results, pack.wire, pack.server_round)
        if f"c-{BAD}" in pack.clients and kind == action:
            content = spoil(content)
        return Message(content, reply_to=message)

    app.train()(lambda message, context: answer(message, "train"))
    app.evaluate()(lambda message, context: answer(message, "evaluate"))
    registrar = Registrar(LocalGrid(app, [{"first": 0}, {"first": 1}]), {}, "x")
    registrar.gather(CLIENTS)
    registrar.prepare(Preparation("{}", "p", "b"))
    return ClientGrid(
        registrar.grid, registrar, SCHEMA, pack_bytes=pack_bytes, norm_rule=rule, clock=clock
    )


def plain(spoil: Content = same, *, rule: NormRule | None = None) -> StockExchange:
    """Four nodes with an ordinary ClientApp; `spoil` changes what the bad one answers."""
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        client = context.node_id - 1000
        given = message.content["arrays"]
        begin = NamedArrays.of({k: a.numpy() for k, a in given.items()}, dict(SCHEMA.facts))
        metrics = MetricRecord({"train_loss": 0.5, "num-examples": EXAMPLES + client})
        content = RecordDict({"arrays": to_stock(trained(client, begin)), "metrics": metrics})
        return Message(spoil(content) if client == BAD else content, reply_to=message)

    @app.evaluate()
    def evaluate(message: Message, context: Context) -> Message:
        metrics = MetricRecord({"accuracy": 0.5, "num-examples": 5})
        return Message(RecordDict({"metrics": metrics}), reply_to=message)

    return StockExchange(LocalGrid(app, [{}] * CLIENTS), Gate(rule))


@dataclass(frozen=True)
class Outcome:
    """The record of the last round and the model after it."""

    record: RoundRecord
    arrays: NamedArrays
    records: tuple[RoundRecord, ...] = ()


def run(exchange: Exchange, rounds: int = 1) -> Outcome:
    """Run FedAvg through the real loop."""
    strategy = FedAvg()
    loop = RoundLoop(strategy, exchange, LoopOptions(rounds, evaluate_every=0, round_timeout=5))
    loop.start(start())
    records = tuple(loop.rounds())
    return Outcome(records[-1], strategy.arrays, records)


def without_bad(stock: bool) -> NamedArrays:
    """The aggregate of the three good clients, over the same path."""
    if stock:
        return run(plain(lambda content: RecordDict({}))).arrays
    return run(packed(result=lambda r: replace(r, arrays=None, error=("gone", "")))).arrays


def records_of(content: RecordDict) -> str:
    """Name of the one record of arrays."""
    (name,) = content.array_records
    return name


def change_array(key: str, change: Callable[[Array], Array]) -> Content:
    """Change one array of the reply; of a pack, its buffer."""

    def spoil(content: RecordDict) -> RecordDict:
        name = records_of(content)
        record = content.array_records[name]
        chosen = key if key in record else next(iter(record))
        content[name] = ArrayRecord({k: change(a) if k == chosen else a for k, a in record.items()})
        return content

    return spoil


def encoded(array: Array, **claims: object) -> Array:
    """The same array with other claims, or other bytes under them."""
    fields = {"dtype": array.dtype, "shape": array.shape, "stype": array.stype, "data": array.data}
    return Array(**{**fields, **claims})  # type: ignore[arg-type]
