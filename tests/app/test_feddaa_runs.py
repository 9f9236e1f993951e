"""Whole runs of FedDAA under drift, in this process."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Message
from local_runs import Config, Killed, Tamper, kill_at, rounds, run, small
from quick_and_slow import one_quick

pytestmark = pytest.mark.usefixtures("no_pictures")


@pytest.fixture
def base(tmp_path: Path, vit_folder: Path) -> Config:
    return small(tmp_path, vit_folder) | {
        "strategy": "feddaa",
        "drift": "feddaa",
        "drift-args": "every=2, slots=2",
        "num-clients": 6,
        "num-server-rounds": 4,
        "local-epochs": 1,
        "state-dir": str(tmp_path / "state"),
    }


def same(one: list[dict[str, object]], other: list[dict[str, object]]) -> None:
    for a, b in zip(one, other, strict=True):
        assert {**a, "seconds": 0} == {**b, "seconds": 0}


def test_a_slot_begins_with_prototypes_and_goes_on_with_training(base: Config) -> None:
    folder = run({**base, "clients-per-round": 4})
    lines = rounds(folder)
    assert [line["clients_asked"] for line in lines] == [0, 4, 4, 6, 4]
    learner = lines[1]["bytes_up"] // 4
    told = lines[3]["method"]
    # Two tables of 10 x 10 outputs and which of 10 classes there are, in float32, from each client.
    assert lines[3]["bytes_up"] == 6 * 4 * 2 * (100 + 10)
    assert lines[3]["bytes_down"] < 6 * learner
    assert {f"silhouette/{k}" for k in range(2, 6)} <= told.keys()
    best = max(range(2, 6), key=lambda k: told[f"silhouette/{k}"])
    assert lines[4]["method"]["learners"] == told["learners"] == best
    assert lines[4]["bytes_up"] // 4 == pytest.approx(best * learner / 2, rel=0.02)
    assert not any(line["rejected"] or line["remarks"] for line in lines)
    exported = {path.name for path in (folder / "clusters").iterdir()}
    assert exported == {f"{m}" for m in range(best)}
    assert all((folder / "clusters" / m / "adapter").is_dir() for m in exported)
    placed = list(csv.DictReader((folder / "clients.csv").open()))
    assert {row["cluster"] for row in placed} <= exported
    assert all(np.isfinite(line["client_loss_mean"]) for line in lines)


@pytest.mark.parametrize("answers", one_quick([6, 4]))
def test_a_run_resumed_across_a_change_of_slot_is_the_same(base: Config, answers: int) -> None:
    """Killed among the prototypes, and in the round after them."""
    one = {**base, "num-clients": 4, "drift-args": "every=1, slots=2", "num-server-rounds": 3}
    whole = rounds(run({**one, "run-name": "whole"}))
    with pytest.raises(Killed):
        run({**one, "run-name": "torn"}, kill_at(answers))
    same(whole, rounds(run({**one, "run-name": "torn", "resume": True})))


def losing(*answers: int) -> Tamper:
    """Lose some answers to training messages, counted from 1."""
    seen = 0

    def lose(message: Message, reply: Message) -> Message | None:
        nonlocal seen
        seen += message.metadata.message_type == "train"
        lost = message.metadata.message_type == "train" and seen in answers
        return None if lost else reply

    return lose


def test_clients_that_are_away_when_a_slot_begins_come_later(base: Config) -> None:
    one = {**base, "num-clients": 4, "round-timeout": 0.5}
    lines = rounds(run(one, losing(9, 10), nodes=4))
    assert [line["clients_answered"] for line in lines] == [0, 4, 4, 2, 4]
    assert lines[4]["train_loss"] > 0


def test_it_runs_without_drift_and_with_clients_of_one_label(base: Config) -> None:
    one = {
        **base,
        "drift": "none",
        "drift-args": "",
        "strategy-args": "slot-rounds=2",
        "partition": "pathological",
        "partition-args": "classes-per-client=1",
    }
    folder = run(one)
    lines = rounds(folder)
    # Clients that share no class cannot be told apart by what they know of different ones.
    assert lines[3]["method"]["learners"] == 2
    assert lines[4]["clients_answered"] == 6
    assert not (folder / "drift.csv").exists()


@pytest.mark.slow
def test_concepts_are_found_and_real_drift_is_told_from_virtual(
    base: Config, tmp_path: Path
) -> None:
    """On a base that has learned digits, with labels that some clients exchange at round 4."""
    one = {
        **base,
        "model": "tiny-vit",
        "num-clients": 6,
        "drift": "label-cycle",
        "drift-args": "at=[4], groups=2, by=5, moving=0.5",
        "num-server-rounds": 6,
        "local-steps": 6,
        "evaluate-every": 3,
    }
    folder = run(one)
    lines = rounds(folder)
    table = list(csv.DictReader((folder / "drift.csv").open()))
    moved = sum(row["drift"] == "real" for row in table)
    assert moved == 3
    assert lines[4]["method"]["learners"] == 2
    assert lines[4]["method"]["real_drifts"] == moved
    concepts = [row["concept"] for row in table if row["slot"] == "1"]
    assert sorted(concepts.count(c) for c in set(concepts)) == sorted(
        int(lines[6]["method"][f"clients/learner-{m}"]) for m in (0, 1)
    )
    assert lines[6]["client_accuracy_mean"] > 0.6
