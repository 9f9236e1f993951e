"""Whole runs of the methods with a model of each client's own, and of fine-tuning before use."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from flwr.app import ConfigRecord, Message, RecordDict
from local_runs import Config, Losing, rounds, run, small
from quick_and_slow import one_quick

from app.client_app import app
from fedbouquet.testing import RUN_CHECKS, LocalGrid, RunCheck, outcome
from models.records import record_bytes, to_stock

pytestmark = pytest.mark.usefixtures("no_pictures")
METHODS = ["ditto > fedper", "fedrep", "fedcac > fedopt"]


@pytest.fixture
def base(tmp_path: Path, vit_folder: Path) -> Config:
    return small(tmp_path, vit_folder) | {
        "partition": "pathological",
        "partition-args": "classes-per-client=3",
        "clients-per-round": 3,
        "num-server-rounds": 2,
        "local-epochs": 1,
        "state-dir": str(tmp_path / "state"),
    }


@pytest.mark.parametrize("check", RUN_CHECKS.values(), ids=RUN_CHECKS)
@pytest.mark.parametrize("method", one_quick(METHODS))
def test_contract_of_whole_runs(method: str, check: RunCheck, tmp_path: Path) -> None:
    config: Config = {"strategy": method, "personalise-epochs": 1}
    if method == "fedrep":
        config["strategy-args"] = "head-epochs=2"
    check(config, tmp_path)


def test_an_answer_that_was_lost_changes_nothing(base: Config) -> None:
    lose_once = Losing(2)
    config = {**base, "strategy": "fedcac"}
    whole = run(config)
    lossy = run({**config, "run-name": "lossy"}, lose_once)
    assert lose_once.lost == 2
    assert outcome(lossy) == outcome(whole)


@pytest.mark.parametrize("strategy", ["fedcac", "fedcac > fedsa-lora"])
def test_masks_travel_as_bits_and_both_models_are_scored(base: Config, strategy: str) -> None:
    sizes = []

    def watch(message: Message, reply: Message) -> Message:
        if message.metadata.message_type == "train":
            asked = len(message.content["config"]["clients"])
            for name, record in reply.content.array_records.items():
                sizes.append((asked, name, record_bytes(record), len(record)))
        return reply

    folder = run(
        {**base, "strategy": strategy, "clients-per-round": 0, "num-server-rounds": 1}, watch
    )
    line = rounds(folder)[1]
    numbers = line["bytes_down"] // 4 // 4  # four clients, float32
    assert line["bytes_up"] == 4 * (4 * numbers + -(-numbers // 8))
    # As they travel: one buffer of numbers and one of bits for all clients of a message.
    for asked, _, found, buffers in sizes:
        assert buffers == 2
        assert found == asked * (4 * numbers + -(-numbers // 8)) + 2 * 128
    assert line["method"].keys() >= {"collaborators", "threshold"}
    assert line["client_loss_before_aggregation_mean"] != line["client_loss_mean"]
    assert 0 < line["client_accuracy_before_aggregation_mean"] <= 1
    # Where the heads stay with the clients there is no model for the server to test.
    assert (line["accuracy"] is None) == ("fedsa" in strategy)


def test_ditto_scores_both_models_and_learns_w_as_ever(base: Config) -> None:
    folder = run({**base, "strategy": "ditto", "strategy-args": "lambda=0.01"})
    plain = run({**base, "strategy": "fedavg", "run-name": "plain"})
    for own, other in zip(rounds(folder), rounds(plain), strict=True):
        assert own["loss"] == other["loss"]
        assert own["train_loss"] == other["train_loss"]
        assert own["client_accuracy_shared_mean"] == other["client_accuracy_mean"]
    last = rounds(folder)[-1]
    assert last["client_accuracy_mean"] > last["client_accuracy_shared_mean"]
    assert (folder / "adapter" / "adapter_model.safetensors").is_file()


# ---- personalise-epochs --------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["fedper", "cellm", "flora", "ditto"])
def test_fine_tuning_before_use_after_any_method(base: Config, strategy: str) -> None:
    """Nothing of it is kept: what the clients share is as in a run without it."""
    plain = run({**base, "strategy": strategy, "run-name": "plain", "num-server-rounds": 1})
    config = {**base, "strategy": strategy, "personalise-epochs": 2, "num-server-rounds": 1}
    tuned = run(config)
    for before, after in zip(rounds(plain), rounds(tuned), strict=True):
        assert before["train_loss"] == after["train_loss"]
        assert before["loss"] == after["loss"]
        if after["round"] == 0:
            assert before["client_loss_mean"] == after["client_loss_mean"]
            continue
        shared = "client_loss_shared_mean" if strategy == "ditto" else "client_loss_mean"
        assert after["client_loss_shared_mean"] == before[shared]
        assert after["client_loss_mean"] < before["client_loss_mean"]
    with (tuned / "clients.csv").open() as file:
        rows = list(csv.DictReader(file))
    shared_mean = np.mean([float(row["accuracy_shared"]) for row in rows])
    assert shared_mean == pytest.approx(rounds(tuned)[-1]["client_accuracy_shared_mean"])


def test_baselines_are_not_fine_tuned(base: Config) -> None:
    few = {**base, "num-server-rounds": 1, "baselines": "local"}
    plain = run({**few, "run-name": "plain"})
    tuned = run({**few, "personalise-epochs": 2})
    left, right = (rounds(folder / "baselines" / "local") for folder in (plain, tuned))
    assert [x["client_loss_mean"] for x in left] == [x["client_loss_mean"] for x in right]
    for line in (right[-1], rounds(plain)[-1]):
        assert not any("shared" in key or "before_aggregation" in key for key in line)


def test_a_client_without_training_examples_is_scored_as_it_is(
    base: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    from clients.session import Session
    from clients.training import Prepared

    part = Session.part

    def poor(self: Session, client: str, which: str, server_round: int = 0) -> Prepared:
        found = part(self, client, which, server_round)
        if client != "client-0001" or which == "test":
            return found
        return Prepared(found.inputs, found.targets[:0], {})

    monkeypatch.setattr(Session, "part", poor)
    for strategy in ("ditto", "fedcac", "fedrep"):
        folder = run(
            {
                **base,
                "strategy": strategy,
                "run-name": strategy,
                "personalise-epochs": 1,
                "clients-per-round": 0,
                "num-server-rounds": 1,
            }
        )
        last = rounds(folder)[-1]
        assert {r["client"] for r in last["rejected"]} == {"client-0001"}
        with (folder / "clients.csv").open() as file:
            row = next(r for r in csv.DictReader(file) if r["client"] == "client-0001")
        assert row["rounds"] == "0"
        assert row["accuracy_after"]


def test_a_plain_flower_evaluation_fine_tunes_too(base: Config) -> None:
    """A message of Flower's own form, to a node with one client."""
    losses = {}
    for epochs in (0, 2):
        config = {**base, "personalise-epochs": epochs, "num-clients": 1, "clients-per-round": 0}
        grid = LocalGrid(app, [{"partition-id": 0, "num-partitions": 1}], config)
        from app.packs import plain_session

        session, _ = plain_session({"partition-id": 0, "num-partitions": 1}, config)
        told = ConfigRecord({"server-round": 1})
        content = RecordDict(
            {
                "arrays": to_stock(session._bases.built(session._bases.name({})).initial),
                "config": told,
            }
        )
        (reply,) = grid.send_and_receive([Message(content, 1000, "evaluate")])
        losses[epochs] = dict(next(iter(reply.content.metric_records.values())))
    assert "loss_shared" not in losses[0]
    assert losses[2]["loss_shared"] == losses[0]["loss"]
    assert losses[2]["loss"] < losses[0]["loss"]
