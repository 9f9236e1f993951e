"""Whole runs with what a recipe can say: a falling learning rate, less memory."""

from __future__ import annotations

from pathlib import Path

import pytest
from local_runs import Killed, kill_at, rounds, run, small

pytestmark = pytest.mark.usefixtures("no_pictures")

COSINE = {
    "learning-rate-schedule": "cosine",
    "least-learning-rate": 0.001,
    "num-server-rounds": 3,
    "local-epochs": 1,
}


def test_a_falling_learning_rate_goes_on_where_it_was(tmp_path: Path, vit_folder: Path) -> None:
    config = {**small(tmp_path, vit_folder), **COSINE}
    whole = run({**config, "run-name": "straight"})
    with pytest.raises(Killed):
        run(config, kill_at(5))
    resumed = run({**config, "resume": True})
    adapter = "adapter/adapter_model.safetensors"
    assert (resumed / adapter).read_bytes() == (whole / adapter).read_bytes()
    other = run({**config, "run-name": "other", "least-learning-rate": 0.002})
    losses, others = ([r["train_loss"] for r in rounds(f)] for f in (whole, other))
    assert losses[:2] == others[:2]
    assert losses[2] != others[2]


def test_less_memory_changes_nothing(tmp_path: Path, vit_folder: Path) -> None:
    config = {**small(tmp_path, vit_folder), "num-server-rounds": 1, "local-epochs": 1}
    plain = run(config)
    spared = run(
        {
            **config,
            "run-name": "spared",
            "gradient-accumulation": 4,
            "gradient-checkpointing": True,
        }
    )
    before, after = rounds(plain)[-1]["train_loss"], rounds(spared)[-1]["train_loss"]
    assert after == pytest.approx(before, rel=1e-4)
