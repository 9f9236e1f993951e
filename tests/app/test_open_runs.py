"""Whole runs whose rounds close before everybody has answered."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fedbouquet.testing import RUN_CHECKS, run_here, small
from fedbouquet.testing.runs import rounds
from models.errors import ConfigurationError

_BUFFER: dict[str, str | int | float | bool] = {
    "strategy": "fedavg",
    "clients-per-round": 0,
    "num-server-rounds": 4,
    "closing": "buffer",
    "closing-args": "size=3",
}


def test_a_killed_run_asks_again_who_was_under_way(tmp_path: Path) -> None:
    """What waited for a round is in the checkpoint; in this process answers come in order."""
    RUN_CHECKS["a_killed_run_resumes_to_the_same_bits"](_BUFFER, tmp_path)


def test_a_buffered_run_leaves_what_any_run_leaves(tmp_path: Path, vit_folder: Path) -> None:
    folder = run_here({**small(tmp_path, vit_folder), **_BUFFER}, report=False)
    lines = rounds(folder)
    assert [line["clients_answered"] for line in lines] == [0, 3, 3, 3, 3]
    assert all(line["accuracy"] is not None for line in lines)
    state = json.loads((folder / "checkpoints" / "round-000004" / "state.json").read_text())
    waiting = json.loads(state["values"]["@loop/open/waiting"])
    out = json.loads(state["values"]["@loop/open/out"])
    assert len(waiting) + len(out) >= 1


def test_a_method_that_needs_fresh_updates_is_refused_before_any_message(
    tmp_path: Path, vit_folder: Path
) -> None:
    config = {**small(tmp_path, vit_folder), **_BUFFER, "strategy": "flora"}
    with pytest.raises(ConfigurationError, match="FLoRA would get updates of older rounds"):
        run_here(config, report=False)
    assert not (tmp_path / "runs").exists()
