"""Both directions: Flower's strategies with our clients, our strategies with plain clients."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from flwr.app import (
    Array,
    ArrayRecord,
    ConfigRecord,
    Context,
    Message,
    MetricRecord,
    RecordDict,
)
from flwr.clientapp import ClientApp
from flwr.serverapp.strategy import DifferentialPrivacyServerSideFixedClipping as PrivacyWrapper
from flwr.serverapp.strategy import FedAvg as FlowerFedAvg

from app.client_app import app
from app.registry import registry
from app.server.federation import open_federation
from app.settings import parse_run_config
from fedbouquet.testing import LocalGrid
from models.records import from_stock, to_stock
from strategies.fedavg import FedAvg
from strategies.fedopt import FedOpt
from strategies.stale.fedstale import FedStale
from strategies.transport.client_grid import ClientGrid
from strategies.transport.client_nodes import client_node_id

Config = dict[str, str | int | float | bool]


def settings(vit_folder: Path, clients: int) -> Config:
    return {
        "model": str(vit_folder),
        "num-clients": clients,
        "partition": "iid",
        "batch-size": 64,
        "local-epochs": 1,
        "evaluate-every": 0,
    }


def opened(config: Config, nodes: int):  # type: ignore[no-untyped-def]
    places = [{"partition-id": i, "num-partitions": nodes} for i in range(nodes)]
    grid = LocalGrid(app, places, config)
    return grid, open_federation(grid, parse_run_config(config, registry()))


def test_flowers_fedavg_with_one_client_a_node_equals_ours(vit_folder: Path) -> None:
    config = settings(vit_folder, 2)
    grid, federation = opened(config, 2)
    theirs = FlowerFedAvg().start(grid, to_stock(federation.initial), num_rounds=2)
    ours = FedAvg().start(federation.grid, to_stock(federation.initial), num_rounds=2)
    a, b = from_stock(theirs.arrays), from_stock(ours.arrays)
    np.testing.assert_allclose(a.vector, b.vector, atol=1e-6)
    assert theirs.evaluate_metrics_clientapp[2]["accuracy"] >= 0
    assert not np.allclose(a.vector, federation.initial.vector, atol=1e-3)


def test_flowers_fedavg_through_the_client_grid_with_many_clients(vit_folder: Path) -> None:
    grid, federation = opened(settings(vit_folder, 7), 2)
    assert len(list(federation.grid.get_node_ids())) == 7
    assert client_node_id("client-0000") in federation.grid.get_node_ids()
    before = len(grid.sent)
    theirs = FlowerFedAvg().start(federation.grid, to_stock(federation.initial), num_rounds=1)
    packs = [node for kind, node in grid.sent[before:] if kind == "train"]
    assert set(packs) == {1000, 1001}
    assert len(packs) < 7 * 2
    ours = FedAvg().start(federation.grid, to_stock(federation.initial), num_rounds=1)
    np.testing.assert_allclose(
        from_stock(theirs.arrays).vector, from_stock(ours.arrays).vector, atol=1e-6
    )


def test_a_plain_message_to_a_node_with_many_clients_is_refused(vit_folder: Path) -> None:
    grid, federation = opened(settings(vit_folder, 6), 2)
    result = FlowerFedAvg().start(grid, to_stock(federation.initial), num_rounds=1)
    assert len(result.arrays) == 0
    assert result.train_metrics_clientapp == {}


# ---- a plain ClientApp, as in Flower's quickstart ------------------------------------------

plain = ClientApp()
EXAMPLES = {1000: 10, 1001: 30}


@plain.train()
def _train(message: Message, context: Context) -> Message:
    weights = message.content["arrays"].to_numpy_ndarrays()
    config = message.content["config"]
    moved = [w + (1 if context.node_id == 1000 else 5) for w in weights]
    record = ArrayRecord(
        {k: Array(v) for k, v in zip(message.content["arrays"], moved, strict=True)}
    )
    metrics = MetricRecord(
        {"train_loss": float(config["server-round"]), "num-examples": EXAMPLES[context.node_id]}
    )
    return Message(RecordDict({"arrays": record, "metrics": metrics}), reply_to=message)


@plain.evaluate()
def _evaluate(message: Message, context: Context) -> Message:
    total = sum(float(a.sum()) for a in message.content["arrays"].to_numpy_ndarrays())
    metrics = MetricRecord({"eval_loss": total, "eval_acc": 0.5, "num-examples": 5})
    return Message(RecordDict({"metrics": metrics}), reply_to=message)


@pytest.fixture
def plain_grid() -> LocalGrid:
    return LocalGrid(plain, [{}, {}])


def start() -> ArrayRecord:
    return ArrayRecord(
        {"w": Array(np.zeros((2, 2), np.float32)), "b": Array(np.zeros(3, np.float64))}
    )


def test_our_fedavg_runs_plain_clients(plain_grid: LocalGrid) -> None:
    seen: list[int] = []

    def evaluate(server_round: int, arrays: ArrayRecord) -> MetricRecord:
        seen.append(server_round)
        return MetricRecord({"sum": float(arrays["b"].numpy().sum())})

    result = FedAvg().start(plain_grid, start(), num_rounds=3, evaluate_fn=evaluate)
    # Every round moves by (10 * 1 + 30 * 5) / 40 = 4.
    np.testing.assert_allclose(result.arrays["w"].numpy(), np.full((2, 2), 12.0))
    assert result.arrays["b"].numpy().dtype == np.float64
    assert seen == [0, 1, 2, 3]
    assert result.evaluate_metrics_serverapp[3]["sum"] == 36.0
    assert result.train_metrics_clientapp[2]["train_loss"] == 2.0
    assert result.evaluate_metrics_clientapp[3]["client_accuracy_mean"] == 0.5


def test_wrappers_run_plain_clients_too(plain_grid: LocalGrid) -> None:
    wrapped = FedOpt(FedAvg(), optimizer="sgd", learning_rate=0.5, beta_1=0.0)
    result = wrapped.start(plain_grid, start(), num_rounds=2)
    np.testing.assert_allclose(result.arrays["w"].numpy(), np.full((2, 2), 4.0))


def test_remembered_updates_work_over_plain_clients(plain_grid: LocalGrid) -> None:
    """Nobody told how many examples there are, and nodes are their own ids."""
    result = FedStale(beta=0.5).start(plain_grid, start(), num_rounds=3)
    # Both are there in every round: FedAvg for any beta.
    np.testing.assert_allclose(result.arrays["w"].numpy(), np.full((2, 2), 12.0), rtol=1e-6)


def test_arguments_of_newer_flower_versions_do_not_break_it(plain_grid: LocalGrid) -> None:
    result = FedAvg().start(
        plain_grid,
        start(),
        num_rounds=5,
        should_stop=lambda server_round, result: server_round == 2,
        something_new=1,
    )
    np.testing.assert_allclose(result.arrays["w"].numpy(), np.full((2, 2), 8.0))


def test_a_plain_client_that_answers_another_key_is_left_out(plain_grid: LocalGrid) -> None:
    def rename(message: Message, reply: Message) -> Message:
        if message.metadata.message_type == "train" and message.metadata.dst_node_id == 1000:
            record = reply.content["arrays"]
            reply.content["arrays"] = ArrayRecord({"v": record["w"], "b": record["b"]})
        return reply

    plain_grid._tamper = rename
    result = FedAvg().start(plain_grid, start(), num_rounds=1)
    np.testing.assert_allclose(result.arrays["w"].numpy(), np.full((2, 2), 5.0))


def test_keys_in_another_order_change_nothing(plain_grid: LocalGrid) -> None:
    def reverse(message: Message, reply: Message) -> Message:
        if message.metadata.message_type == "train":
            record = reply.content["arrays"]
            reply.content["arrays"] = ArrayRecord(dict(reversed(list(record.items()))))
        return reply

    plain_grid._tamper = reverse
    result = FedAvg().start(plain_grid, start(), num_rounds=1)
    np.testing.assert_array_equal(result.arrays["w"].numpy(), np.full((2, 2), 4.0, np.float32))


def test_flowers_privacy_wrapper_goes_around_our_strategy(plain_grid: LocalGrid) -> None:
    wrapper = PrivacyWrapper(FedAvg(), 0.0, 1e6, 2)
    result = wrapper.start(plain_grid, start(), num_rounds=2)
    np.testing.assert_allclose(result.arrays["w"].numpy(), np.full((2, 2), 8.0), atol=1e-4)


def test_the_client_grid_is_a_flower_grid(vit_folder: Path) -> None:
    _, federation = opened(settings(vit_folder, 4), 2)
    content = RecordDict(
        {"arrays": to_stock(federation.initial), "config": ConfigRecord({"server-round": 1})}
    )
    target = client_node_id("client-0002")
    (reply,) = federation.grid.send_and_receive([Message(content, target, "evaluate")], timeout=60)
    assert isinstance(federation.grid, ClientGrid)
    assert reply.metadata.src_node_id == target
    assert (
        reply.content["metrics"]["num-examples"] == federation.roster["client-0002"].test_examples
    )
