"""Runs in which a part of the model stays with its client: FedPer, in this process."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Message
from local_runs import Config, Killed, Losing, kill_at, rounds, run, small
from quick_and_slow import one_quick
from safetensors.numpy import load

pytestmark = pytest.mark.usefixtures("no_pictures")


@pytest.fixture
def base(tmp_path: Path, vit_folder: Path) -> Config:
    return small(tmp_path, vit_folder) | {
        "strategy": "fedper > fedopt > fedavg",
        "strategy-args": 'fedopt.optimizer="sgd"',
        "clients-per-round": 3,
        "num-server-rounds": 5,
        "state-dir": str(tmp_path / "state"),
    }


def kept(config: Config, folder: Path) -> dict[str, dict[str, np.ndarray]]:
    """The newest version of every client's personal state in a run."""
    uid = (folder / "uid").read_text().strip()
    newest = {}
    for client in (Path(str(config["state-dir"])) / "personal" / uid).iterdir():
        newest[client.name] = load(max(client.iterdir()).read_bytes()[64:])
    return newest


def accuracies(folder: Path) -> list[object]:
    return [(line["train_loss"], line["client_accuracy_mean"]) for line in rounds(folder)]


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


@pytest.mark.parametrize("at", one_quick([8, 3, 14]))
def test_a_run_killed_and_resumed_ends_in_the_same_state(base: Config, at: int) -> None:
    whole = run({**base, "run-name": "whole"})
    broken = {**base, "run-name": "broken"}
    with pytest.raises(Killed):
        run(broken, kill_at(at, "train", "evaluate"))
    folder = run({**broken, "resume": True})
    same(kept(base, whole), kept(base, folder))
    assert accuracies(whole) == accuracies(folder)


def test_an_answer_that_was_lost_is_computed_again_from_the_same_state(base: Config) -> None:
    lose_once = Losing(2)
    whole = run({**base, "run-name": "whole"})
    folder = run({**base, "run-name": "lossy"}, lose_once)
    assert lose_once.lost == 2
    same(kept(base, whole), kept(base, folder))
