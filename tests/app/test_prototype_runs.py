"""Whole runs of the methods in which class prototypes travel."""

from __future__ import annotations

import shutil
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Message
from local_runs import Config, Killed, kill_at, rounds, run, small
from safetensors.numpy import load, load_file

from models.errors import ConfigurationError

pytestmark = pytest.mark.usefixtures("no_pictures")

METHODS = ("fedsa", "fedproto", "fedtgp", "fedgh", "fd")
CLASSES, FEATURES = 10, 16


@pytest.fixture
def base(tmp_path: Path, vit_folder: Path) -> Config:
    return small(tmp_path, vit_folder) | {
        "strategy": "fedsa",
        "num-server-rounds": 3,
        "state-dir": str(tmp_path / "state"),
        "local-steps": 2,
        "learning-rate": 0.03,
    }


def newest(config: Config, folder: Path) -> dict[str, dict[str, np.ndarray]]:
    """The newest version of every client's personal state in a run."""
    own = Path(str(config["state-dir"])) / "personal" / (folder / "uid").read_text().strip()
    return {client.name: load(max(client.iterdir()).read_bytes()[64:]) for client in own.iterdir()}


def told(folder: Path) -> list[tuple[object, ...]]:
    return [
        (line["train_loss"], line["client_accuracy_mean"], line["method"], line["bytes_up"])
        for line in rounds(folder)
    ]


@pytest.mark.parametrize("method", METHODS)
def test_only_a_table_travels(base: Config, method: str) -> None:
    sent: list[tuple[int, int]] = []

    def weigh(message: Message, reply: Message) -> Message:
        if message.metadata.message_type == "train":
            down, up = (m.content.array_records for m in (message, reply))
            sent.append(tuple(sum(r.count_bytes() for r in part.values()) for part in (down, up)))
        return reply

    folder = run({**base, "strategy": method, "num-server-rounds": 1}, weigh)
    (line,) = rounds(folder)[1:]
    width = CLASSES if method == "fd" else FEATURES
    table = 4 * (CLASSES * width + CLASSES)
    # FedSA's anchors have no absent classes; FedGH's head has a bias in the mask's place.
    down = 4 * CLASSES * width if method == "fedsa" else table
    assert (line["bytes_up"], line["bytes_down"]) == (4 * table, 4 * down)
    assert line["rejected"] == []
    # On the wire: two clients a message, one start for both, and a header for each array.
    for start, answers in sent:
        assert start - down < 400
        assert answers - 2 * table < 400
    assert not (folder / "adapter").exists()
    kept = newest(base, folder)
    assert len(kept) == 4
    assert all("base_model.model.classifier.weight" in arrays for arrays in kept.values())


@pytest.mark.parametrize("method", ["fedsa", "fedtgp", "fedproto > fedper > fedavg"])
def test_a_run_killed_and_resumed_ends_in_the_same_state(base: Config, method: str) -> None:
    config = base | {"strategy": method, "clients-per-round": 3, "evaluate-every": 0}
    whole = run({**config, "run-name": "whole"})
    broken = {**config, "run-name": "broken"}
    with pytest.raises(Killed):
        run(broken, kill_at(4))
    folder = run({**broken, "resume": True})
    assert told(whole) == told(folder)
    first, second = newest(config, whole), newest(config, folder)
    assert first.keys() == second.keys()
    for client, arrays in first.items():
        for key, value in arrays.items():
            np.testing.assert_array_equal(value, second[client][key], err_msg=f"{client} {key}")
    name = "artifacts.safetensors"
    assert (whole / name).read_bytes() == (folder / name).read_bytes()


def test_clients_learn_and_both_rules_are_reported(base: Config) -> None:
    config = base | {"num-server-rounds": 4, "local-steps": 10, "model-args": "feature-dim=24"}
    by_prototype = rounds(run({**config, "run-name": "one"}))
    args = {"strategy-args": 'inference="head"', "run-name": "two"}
    by_head = rounds(run({**config, **args}))
    assert by_prototype[-1]["train_loss"] < by_prototype[1]["train_loss"]
    for one, two in zip(by_prototype[1:], by_head[1:], strict=True):
        # The same run, told the other way round.
        exactly = partial(pytest.approx, rel=1e-12)
        assert one["client_accuracy_mean"] == exactly(two["method"]["accuracy_prototype"])
        assert two["client_accuracy_mean"] == exactly(one["method"]["accuracy_head"])
        assert one["train_loss"] == two["train_loss"]
    last = by_prototype[-1]["method"]
    assert last["anchor_distance"] < by_prototype[1]["method"]["anchor_distance"]
    assert last["classes_present"] == 10


def test_clients_of_one_class_and_classes_that_nobody_has(base: Config) -> None:
    """Twelve clients of a class or two each, three of them a round."""
    config = base | {
        "num-clients": 12,
        "partition": "dirichlet",
        "partition-args": "alpha=0.03",
        "clients-per-round": 3,
        "num-server-rounds": 4,
    }
    for method in ("fedsa", "fedtgp"):
        folder = run({**config, "strategy": method, "run-name": method})
        lines = rounds(folder)
        assert all(line["rejected"] == [] for line in lines)
        seen = [line["method"]["classes_present"] for line in lines[1:]]
        assert min(seen) < 10
        assert all(np.isfinite(line["train_loss"]) for line in lines[1:])
        tables = load_file(folder / "artifacts.safetensors")
        known = [np.isfinite(tables[f"rounds/{r:06d}"]).all(axis=1) for r in range(1, 5)]
        # A class that was known stays known.
        for before, after in pairwise(known):
            assert (after | ~before).all()


@pytest.fixture(scope="module")
def wide_folder(vit_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small ViT of the tests, twice as wide."""
    import torch
    from transformers import ViTConfig, ViTForImageClassification

    folder = tmp_path_factory.mktemp("wide")
    shutil.copytree(vit_folder, folder, dirs_exist_ok=True)
    torch.manual_seed(1)
    config = ViTConfig.from_pretrained(vit_folder, hidden_size=32)
    ViTForImageClassification(config).save_pretrained(folder)
    return folder


def test_models_of_different_width_in_one_run(base: Config, wide_folder: Path) -> None:
    models = f'variants=["{base["model"]}", "{wide_folder}"]'
    folder = run({**base, "model-args": f"{models}, feature-dim=12", "run-name": "aligned"})
    (*_, line) = rounds(folder)
    assert (line["rejected"], line["clients_answered"]) == ([], 4)
    assert line["bytes_up"] == 4 * 4 * (CLASSES * 12 + CLASSES)
    key = "base_model.model.classifier.0.weight"
    widths = {arrays[key].shape for arrays in newest(base, folder).values()}
    assert widths == {(12, 16), (12, 32)}
    # Features of different lengths cost only the clients that they belong to.
    folder = run({**base, "model-args": models, "num-server-rounds": 1})
    (*_, line) = rounds(folder)
    assert line["clients_answered"] == 2
    assert {entry["code"] for entry in line["rejected"]} == {"features"}
    assert "feature-dim" in line["rejected"][0]["detail"]


def test_an_adapter_that_could_not_be_loaded_is_refused(base: Config) -> None:
    with pytest.raises(ConfigurationError, match="could not be loaded onto the base"):
        run({**base, "strategy": "fedsa > fedavg", "model-args": "feature-dim=12"})
    with pytest.raises(ConfigurationError, match="FedSA cannot go around CELLM"):
        run({**base, "strategy": "fedsa > cellm"})


def test_beside_a_shared_adapter_the_table_is_what_is_added(base: Config) -> None:
    config = {**base, "num-server-rounds": 1}
    alone = rounds(run({**config, "strategy": "fedavg", "run-name": "alone"}))[1]
    both = run({**config, "strategy": "fedproto > fedavg", "run-name": "both"})
    line = rounds(both)[1]
    assert line["bytes_up"] - alone["bytes_up"] == 4 * 4 * (CLASSES * FEATURES + CLASSES)
    # No prototype is known in the first round, so the shared adapter is FedAvg's.
    name = "adapter/adapter_model.safetensors"
    assert (both / name).read_bytes() == (both.parent / "alone" / name).read_bytes()


@pytest.mark.parametrize("method", ["ccvr > fedavg", "ggeur > fedavg"])
def test_gaussians_travel_once_and_the_global_model_is_exported(base: Config, method: str) -> None:
    folder = run({**base, "strategy": method})
    lines = rounds(folder)
    assert all(line["rejected"] == [] for line in lines)
    statistics = 4 * 4 * CLASSES * (1 + FEATURES + FEATURES * (FEATURES + 1) // 2)
    at = 3 if method.startswith("ccvr") else 1
    assert [line["bytes_up"] == statistics for line in lines] == [r == at for r in range(4)]
    assert (folder / "adapter/adapter_model.safetensors").is_file()
    assert lines[at]["loss"] != lines[at - 1]["loss"] or method.startswith("ggeur")
