"""Flower's side of a strategy: what makes ours run wherever a Flower ``Strategy`` does.

`FlowerInterface.start` runs our own round loop. The four ``configure_`` and ``aggregate_`` methods
serve code that calls them directly, such as Flower's differential-privacy wrappers.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from logging import INFO, WARNING
from typing import Any

from flwr.app import ArrayRecord, ConfigRecord, Message, MessageType, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Result
from flwr.serverapp.strategy import Strategy as FlowerStrategy
from flwr.supercore import log

from models.errors import ConfigurationError
from models.records import from_stock, to_stock
from models.schema import NamedArrays
from strategies.aggregation.lora.product import Delta
from strategies.hooks import Aggregation
from strategies.rounds.closing import closing_errors, make_closing
from strategies.rounds.context import Instruction, RoundContext, Update
from strategies.rounds.loop import RoundLoop
from strategies.rounds.options import LoopOptions
from strategies.transport.client_nodes import ClientNodes
from strategies.transport.exchange import Exchange, OpenExchange, Reply
from strategies.transport.roster import Client, Node, Roster
from strategies.transport.screening import Asked, Gate
from strategies.transport.stock import StockExchange, read_stock


class FlowerInterface(FlowerStrategy):
    """Flower's abstract methods, in terms of our hooks."""

    _arrays: NamedArrays | None = None

    @abstractmethod
    def initialise(self, arrays: NamedArrays) -> None: ...

    @abstractmethod
    def sample(self, context: RoundContext) -> Sequence[str]: ...

    @abstractmethod
    def instruct(self, client: str, context: RoundContext) -> Instruction: ...

    @abstractmethod
    def instruct_evaluation(self, client: str, context: RoundContext) -> Instruction: ...

    @abstractmethod
    def begin(self, context: RoundContext) -> Aggregation: ...

    @abstractmethod
    def conclude(self, aggregation: Any, context: RoundContext) -> None: ...

    @abstractmethod
    def model_for(self, client: str) -> NamedArrays: ...

    @property
    @abstractmethod
    def is_linear(self) -> bool: ...

    @property
    @abstractmethod
    def wants_start(self) -> bool: ...

    @property
    @abstractmethod
    def own_closing(self) -> str: ...

    @abstractmethod
    def describe(self) -> str: ...

    arrays: NamedArrays

    @property
    @abstractmethod
    def model(self) -> NamedArrays: ...

    @property
    @abstractmethod
    def assignment(self) -> Mapping[str, int]: ...

    @abstractmethod
    def heard(self, client: str, metrics: Mapping[str, float]) -> None: ...

    @property
    @abstractmethod
    def merged(self) -> Mapping[str, Delta]: ...

    @abstractmethod
    def counted(
        self, update: Update, context: RoundContext
    ) -> tuple[NamedArrays, float] | None: ...

    @abstractmethod
    def forget(self, client: str, server_round: int) -> None: ...

    @abstractmethod
    def figures(self) -> Mapping[str, float]: ...

    def summary(self) -> None:
        """Log name and options."""
        log(INFO, "\t└──> %s", self.describe())

    def start(
        self,
        grid: Grid,
        initial_arrays: ArrayRecord,
        num_rounds: int = 3,
        timeout: float = 3600,
        train_config: ConfigRecord | None = None,
        evaluate_config: ConfigRecord | None = None,
        evaluate_fn: Callable[[int, ArrayRecord], MetricRecord | None] | None = None,
        **kwargs: Any,
    ) -> Result:
        """Run all rounds in any ServerApp; takes and returns what Flower's strategies do.

        Parameters
        ----------
        grid : Grid
            Flower's own, with a plain ClientApp behind it, or a `ClientGrid`.
        initial_arrays : ArrayRecord
            The first model.
        num_rounds : int
        timeout : float
            Seconds a round waits for answers.
        train_config, evaluate_config : ConfigRecord, optional
            Sent with every message.
        evaluate_fn : callable, optional
            ``(round, arrays) -> MetricRecord``, before the first round and after each.
        **kwargs
            ``clients_per_round``, ``seed``, ``closing`` and ``closing_args`` (what closes a round,
            and a mapping of its options), ``should_stop(round, result)``; what newer versions of
            Flower may pass beyond that is ignored.

        Raises
        ------
        ConfigurationError
            A closing rule that is not known, has wrong options or is not for this method.
        """
        result = Result()
        if isinstance(grid, ClientNodes):
            exchange: Exchange = grid
            start = grid.typed(initial_arrays)
        else:
            exchange = StockExchange(grid)
            start = from_stock(initial_arrays)
        rule = str(kwargs.get("closing") or self.own_closing)
        closing = make_closing(rule, self, kwargs.get("closing_args") or {})
        if closing is not None and not isinstance(exchange, OpenExchange):
            log(WARNING, "\t> rounds wait for everybody: '%s' needs a ClientGrid", rule)
            closing = None
        elif errors := closing_errors(rule, self):
            raise ConfigurationError(f"closing: under '{rule}', {line}" for line in errors)
        should_stop = kwargs.get("should_stop")

        def evaluate(server_round: int, arrays: NamedArrays) -> dict[str, float]:
            metrics = evaluate_fn(server_round, to_stock(arrays)) if evaluate_fn else None
            if metrics is None:
                return {}
            result.evaluate_metrics_serverapp[server_round] = metrics
            return {k: float(v) for k, v in metrics.items() if isinstance(v, int | float)}

        loop = RoundLoop(
            self,
            exchange,
            LoopOptions(
                num_rounds=num_rounds,
                round_timeout=timeout,
                clients_per_round=int(kwargs.get("clients_per_round", 0)),
                seed=int(kwargs.get("seed", 0)),
                train_config=dict(train_config or {}),
                evaluate_config=dict(evaluate_config or {}),
            ),
            evaluate_server=evaluate if evaluate_fn else None,
            participation=grid.presence if isinstance(grid, ClientNodes) else None,
            closing=closing,
        )
        self.summary()
        loop.start(start)
        for record in loop.rounds():
            if record.train_loss is not None:
                metrics = MetricRecord({"train_loss": record.train_loss})
                result.train_metrics_clientapp[record.round] = metrics
            if record.client_metrics:
                result.evaluate_metrics_clientapp[record.round] = MetricRecord(
                    dict(record.client_metrics)
                )
            result.arrays = to_stock(self.model)
            if should_stop is not None and should_stop(record.round, result):
                break
        return result

    # ---- for code that calls the parts directly ------------------------------------------

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Return one plain message for each client of the cohort."""
        if self._arrays is None:
            self.initialise(from_stock(arrays))
        else:
            self.arrays = self.arrays.replace(from_stock(arrays).vector)
        self._context = self._plain_context(server_round, grid)
        self._order = list(arrays)
        messages = []
        for client in self.sample(self._context):
            instruction = self.instruct(client, self._context)
            settings = ConfigRecord({**config, **instruction.config, "server-round": server_round})
            content = RecordDict({"arrays": self._ordered(instruction.arrays), "config": settings})
            messages.append(Message(content, int(client), MessageType.TRAIN))
        return messages

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Aggregate plain replies; what does not fit is left out and logged."""
        aggregation = self.begin(self._context)
        gate, seen = Gate(), set[str]()
        total, loss = 0, 0.0
        for message in sorted(replies, key=lambda m: m.metadata.src_node_id):
            client = str(message.metadata.src_node_id)
            if client in seen:
                log(INFO, "\t> left out: a second answer of %s", client)
                continue
            seen.add(client)
            asked = Asked(client, "train", server_round, self.arrays)
            item = read_stock(message, asked, self.arrays.schema, gate)
            if not isinstance(item, Reply) or item.arrays is None:
                log(INFO, "\t> left out: %s", item)
                continue
            aggregation.add(
                Update(
                    client, item.arrays, item.num_examples, item.metrics, base_round=server_round
                )
            )
            total += item.num_examples
            loss += item.num_examples * item.metrics.get("train_loss", 0.0)
        if total == 0:
            return None, None
        self.conclude(aggregation, self._context)
        return self._ordered(self.arrays), MetricRecord({"train_loss": loss / total})

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Return one plain message for every node."""
        settings = ConfigRecord({**config, "server-round": server_round})
        content = RecordDict({"arrays": arrays, "config": settings})
        return [Message(content, node, MessageType.EVALUATE) for node in grid.get_node_ids()]

    def aggregate_evaluate(
        self, server_round: int, replies: Iterable[Message]
    ) -> MetricRecord | None:
        """Return the example-weighted mean of the clients' metrics."""
        sums: dict[str, float] = {}
        total = 0
        gate = Gate()
        for message in replies:
            asked = Asked(str(message.metadata.src_node_id), "evaluate", server_round)
            item = read_stock(message, asked, None, gate)
            if isinstance(item, Reply):
                total += item.num_examples
                for name, value in item.metrics.items():
                    sums[name] = sums.get(name, 0.0) + item.num_examples * value
        return MetricRecord({k: v / total for k, v in sums.items()}) if total else None

    def _ordered(self, arrays: NamedArrays) -> ArrayRecord:
        """Keep the caller's order of keys: Flower's wrappers compare arrays by position."""
        record = to_stock(arrays)
        return ArrayRecord({key: record[key] for key in self._order if key in record})

    def _plain_context(self, server_round: int, grid: Grid) -> RoundContext:
        roster = Roster()
        for node in grid.get_node_ids():
            roster.join(Node(node, str(node)), [Client(str(node), node)])
        return RoundContext(server_round, server_round, roster)
