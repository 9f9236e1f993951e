"""Runs in which a part of the model stays with its client: FedPer, in this process."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Message
from safetensors.numpy import load

from app import packs
from app.client_app import app
from app.job import run_job
from fedbouquet.testing import LocalGrid

Config = dict[str, str | int | float | bool]


class Killed(BaseException):
    """The server's process ends here."""


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.report.write_report", lambda folder: folder / "report.html")


@pytest.fixture
def base(tmp_path: Path, vit_folder: Path) -> Config:
    return {
        "strategy": "fedper > fedopt > fedavg",
        "strategy-args": 'fedopt.optimizer="sgd"',
        "model": str(vit_folder),
        "num-clients": 4,
        "clients-per-round": 3,
        "num-server-rounds": 5,
        "partition": "iid",
        "partition-args": "",
        "out-dir": str(tmp_path / "runs"),
        "state-dir": str(tmp_path / "state"),
        "batch-size": 64,
        "node-wait-timeout": 5.0,
    }


def run(config: Config, tamper: object = None) -> Path:
    places = [{"partition-id": i, "num-partitions": 2} for i in range(2)]
    return run_job(LocalGrid(app, places, config, tamper), config)  # type: ignore[arg-type]


def kept(config: Config, folder: Path) -> dict[str, dict[str, np.ndarray]]:
    """The newest version of every client's personal state in a run."""
    uid = (folder / "uid").read_text().strip()
    newest = {}
    for client in (Path(str(config["state-dir"])) / "personal" / uid).iterdir():
        newest[client.name] = load(max(client.iterdir()).read_bytes()[64:])
    return newest


def accuracies(folder: Path) -> list[object]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [(line["train_loss"], line["client_accuracy_mean"]) for line in lines]


def same(a: dict[str, dict[str, np.ndarray]], b: dict[str, dict[str, np.ndarray]]) -> None:
    assert a.keys() == b.keys()
    for client in a:
        for key, value in a[client].items():
            np.testing.assert_array_equal(value, b[client][key], err_msg=f"{client} {key}")


def test_heads_stay_with_their_clients(base: Config) -> None:
    asked: list[Message] = []

    def watch(message: Message, reply: Message) -> Message:
        if message.metadata.message_type == "train":
            asked.append(message)
        return reply

    folder = run({**base, "run-name": "whole"}, watch)
    heads = kept(base, folder)
    assert len(heads) == 4
    keys = {key for arrays in heads.values() for key in arrays}
    assert keys == {"base_model.model.classifier.bias", "base_model.model.classifier.weight"}
    weights = [arrays["base_model.model.classifier.weight"] for arrays in heads.values()]
    for i, j in ((0, 1), (1, 2), (2, 3)):
        assert np.abs(weights[i] - weights[j]).max() > 1e-4, "two clients have one head"
    # Nothing of a head travels, either way: 10 classes x 16 features and 10 biases are missing.
    content = asked[0].content
    size = sum(a.shape[-1] for a in content.array_records["arrays"].values())
    schema = json.loads(json.loads(content.config_records["config"]["more-schemas"])[0])
    assert not any("classifier" in key for key, _, _ in schema["arrays"])
    assert size == sum(int(np.prod(shape)) for _, shape, _ in schema["arrays"])
    # Each client is evaluated with its own head, which is better than the common start.
    first, last = accuracies(folder)[0], accuracies(folder)[-1]
    assert last[1] > first[1]  # type: ignore[index]


def test_only_versions_that_a_resume_may_ask_for_stay(base: Config) -> None:
    folder = run({**base, "run-name": "whole", "clients-per-round": 0})
    uid = (folder / "uid").read_text().strip()
    for client in (Path(str(base["state-dir"])) / "personal" / uid).iterdir():
        rounds = sorted(int(f.stem.removeprefix("round-")) for f in client.iterdir())
        # At round 5 the checkpoints of rounds 3 and 4 were kept.
        assert rounds == [3, 4, 5]


@pytest.mark.parametrize("at", [3, 8, 14])
def test_a_run_killed_and_resumed_ends_in_the_same_state(base: Config, at: int) -> None:
    whole = run({**base, "run-name": "whole"})
    seen = 0

    def kill(message: Message, reply: Message) -> Message:
        nonlocal seen
        seen += message.metadata.message_type in ("train", "evaluate")
        if seen == at:
            raise Killed
        packs._sessions.clear()  # a real node starts a process for every message
        return reply

    broken = {**base, "run-name": "broken"}
    with pytest.raises(Killed):
        run(broken, kill)
    folder = run({**broken, "resume": True})
    same(kept(base, whole), kept(base, folder))
    assert accuracies(whole) == accuracies(folder)


def test_an_answer_that_was_lost_is_computed_again_from_the_same_state(base: Config) -> None:
    lost = []

    def lose_once(message: Message, reply: Message) -> Message | None:
        if message.metadata.message_type == "train" and len(lost) < 2:
            lost.append(message)
            reply.content["config"]["server-round"] = 99  # of another round: not counted
        return reply

    whole = run({**base, "run-name": "whole"})
    folder = run({**base, "run-name": "lossy"}, lose_once)
    assert len(lost) == 2
    same(kept(base, whole), kept(base, folder))
