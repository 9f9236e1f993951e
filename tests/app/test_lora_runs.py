"""Whole runs of the LoRA methods: exports that PEFT loads, absences, ranks, resume."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from flwr.app import Message
from local_runs import Config, Killed, kill_at, rounds, run, small
from quick_and_slow import one_quick

from app import packs
from app.client_app import app
from app.server.job import run_job
from clients.data import load_server_test
from clients.data.spec import DataSpec
from clients.holdings import prepare
from clients.preparation import make_preparation
from fedbouquet.testing import LocalGrid
from models.errors import ConfigurationError

pytestmark = pytest.mark.usefixtures("no_pictures")


METHODS = ("fedit", "ffa-lora", "rolora", "flora", "fedex-lora", "flexlora", "hetlora")
MIXED = ("flora", "flexlora", "hetlora")


@pytest.fixture
def base(tmp_path: Path, vit_folder: Path) -> Config:
    return small(tmp_path, vit_folder) | {
        "num-server-rounds": 4,
        "state-dir": str(tmp_path / "state"),
        "local-steps": 3,
        "learning-rate": 0.03,
        "evaluate-every": 0,
    }


def logits(folder: Path, base_folder: str) -> tuple[torch.Tensor, np.ndarray]:
    """What PEFT alone makes of the exported adapter on the server's test set."""
    from peft import PeftModel
    from transformers import AutoModelForImageClassification

    model = AutoModelForImageClassification.from_pretrained(base_folder)
    model = PeftModel.from_pretrained(model, folder / "adapter").eval()
    examples = load_server_test(
        DataSpec(partition="iid", partition_args=(), num_clients=4, partition_seed=42)
    )
    assert examples is not None
    labels = tuple(str(i) for i in range(10))
    data = prepare(examples, labels, make_preparation(Path(base_folder), "image", {}))
    with torch.no_grad():
        rows = np.arange(len(data))
        return model(**data.inputs.batch(rows, torch.device("cpu"))).logits, data.targets


@pytest.mark.parametrize("method", METHODS)
def test_peft_alone_reproduces_the_stated_accuracy(base: Config, method: str) -> None:
    mixed = method in MIXED
    config = base | {"strategy": method, "rank-args": "ranks=[2, 4, 8]" if mixed else ""}
    folder = run(config)
    last = rounds(folder)[-1]
    found, targets = logits(folder, str(base["model"]))
    loss = torch.nn.functional.cross_entropy(found, torch.from_numpy(targets))
    assert float((found.argmax(-1).numpy() == targets).mean()) == pytest.approx(
        last["accuracy"], abs=1e-6
    )
    assert float(loss) == pytest.approx(last["loss"], abs=2e-5)
    assert last["rejected"] == []
    error = last["method"]["aggregation_error"]
    if method in ("ffa-lora", "rolora", "flora", "fedex-lora"):
        assert error < 1e-6
    else:
        assert 1e-4 < error < 1.0
    if mixed:
        with (folder / "clients.csv").open() as stream:
            assert [row["rank"] for row in csv.DictReader(stream)] == ["2", "4", "8", "2"]


@pytest.mark.parametrize("method", ["flora", "fedex-lora"])
def test_a_client_that_missed_rounds_is_brought_up_to_date(base: Config, method: str) -> None:
    """Client 0 is away in rounds 1 to 3; its node has none of the changes when it returns."""
    away: Config = base | {
        "strategy": method,
        "num-server-rounds": 5,
        "participation": "trace",
        "participation-args": f"file='{Path(str(base['out-dir'])).parent / 'trace.csv'}'",
    }
    trace = ["client,from,to", "client-0000,4,5"]
    trace += [f"client-{i:04d},1,5" for i in range(1, 4)]
    Path(str(base["out-dir"])).parent.joinpath("trace.csv").write_text("\n".join(trace) + "\n")
    shared = run(away)
    # A node of its own: it hosts client 0 only and gets no message before round 4.
    alone = away | {"run-name": "alone", "state-dir": str(base["state-dir"]) + "-alone"}
    places = [{"partition-id": i, "num-partitions": 4} for i in range(4)]
    folder = run_job(LocalGrid(app, places, alone), alone)
    first, second = rounds(shared), rounds(folder)
    assert [r["train_loss"] for r in first] == pytest.approx([r["train_loss"] for r in second])
    assert second[-1]["rejected"] == []
    assert second[-1]["accuracy"] == first[-1]["accuracy"]


@pytest.mark.parametrize("method", one_quick(["flora", "fedex-lora", "hetlora", "rolora"]))
def test_a_run_killed_and_resumed_ends_in_the_same_bits(base: Config, method: str) -> None:
    config = base | {"strategy": method, "rank-args": "ranks=[2, 8]" if method in MIXED else ""}
    whole = run(config)
    broken = {**config, "run-name": "broken"}
    with pytest.raises(Killed):
        run(broken, kill_at(6))
    folder = run({**broken, "resume": True})
    name = "adapter/adapter_model.safetensors"
    assert (whole / name).read_bytes() == (folder / name).read_bytes()
    for a, b in zip(rounds(whole), rounds(folder), strict=True):
        assert (a["train_loss"], a["method"]) == (b["train_loss"], b["method"])


def test_a_node_that_lost_its_changes_is_given_them_again(base: Config) -> None:
    import shutil

    lost = []

    def lose(message: Message, reply: Message) -> Message:
        if message.metadata.message_type == "train" and len(lost) == 3:
            shutil.rmtree(Path(str(base["state-dir"])) / "changes")
            packs._sessions.clear()
        lost.append(1)
        return reply

    whole = run(base | {"strategy": "flora"})
    folder = run(base | {"strategy": "flora", "run-name": "lossy"}, lose)
    name = "adapter/adapter_model.safetensors"
    assert (whole / name).read_bytes() == (folder / name).read_bytes()


def test_ranks_of_their_own_are_refused_where_a_method_needs_one(base: Config) -> None:
    with pytest.raises(ConfigurationError, match=r"FedIT.*needs one rank"):
        run(base | {"strategy": "fedit", "rank-args": "ranks=[2, 8]"})
    with pytest.raises(ConfigurationError, match="rank 16 is above the adapter's own, 8"):
        run(base | {"strategy": "flora", "rank-args": "ranks=[2, 16]"})
    with pytest.raises(ConfigurationError, match="ranks need adapter='lora'"):
        run(base | {"strategy": "flora", "adapter": "head", "rank-args": "ranks=[2]"})


def test_the_ranks_that_nodes_state_are_used(base: Config) -> None:
    places = [{"partition-id": i, "num-partitions": 4, "rank": 2 * (i + 1)} for i in range(4)]
    config = base | {"strategy": "flexlora", "num-server-rounds": 1}
    folder = run_job(LocalGrid(app, places, config), config)
    with (folder / "clients.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["rank"] for row in rows] == ["2", "4", "6", "8"]
    sent = [int(row["bytes_down"]) for row in rows]
    # Two layers with query and value of 16 x 16: 4 x 32 numbers a rank, and the head.
    assert np.diff(sent).tolist() == [2 * 4 * 32 * 4] * 3
