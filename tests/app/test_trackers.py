"""Trackers: the same numbers, each round once, and no failure of theirs ends a run."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest
from local_runs import Config, Killed, kill_at, rounds, run, small

import app.trackers.names
from app.registry import registry
from app.settings import parse_run_config
from app.trackers.names import TRACKERS, check_installed
from app.trackers.scalars import scalars_of
from app.trackers.tracker import Ending, TrackedRun
from app.trackers.tracking import Tracking
from models.errors import ConfigurationError


@dataclass
class Store:
    """What a tracker outside this process would hold."""

    starts: list[tuple[TrackedRun, int]] = field(default_factory=list)
    kept: dict[int, Mapping[str, float]] = field(default_factory=dict)
    ends: list[Ending] = field(default_factory=list)
    fails_at: tuple[str, int] = ("", 0)


class Recording:
    """A tracker of a `Store`; it fails where the store says so."""

    store = Store()

    def start(self, run: TrackedRun, kept: int) -> int:
        self.store.starts.append((run, kept))
        self._fail("start", 0)
        return max(self.store.kept, default=-1)

    def round(self, number: int, scalars: Mapping[str, float]) -> None:
        self._fail("round", number)
        assert number not in self.store.kept
        self.store.kept[number] = dict(scalars)

    def end(self, ending: Ending) -> None:
        self._fail("end", 0)
        self.store.ends.append(ending)

    def _fail(self, call: str, number: int) -> None:
        if self.store.fails_at == (call, number):
            raise ConnectionError("no way to https://me:hunter2@tracker.example\x1b[31m")


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    """Take the place of MLflow, which is not installed here."""
    monkeypatch.setattr(Recording, "store", Store())
    fake = SimpleNamespace(TRACKER=Recording)
    monkeypatch.setitem(sys.modules, "app.trackers.mlflow", fake)
    monkeypatch.setattr(app.trackers.names, "_installed", lambda name: name == "mlflow")
    return Recording.store


@pytest.fixture
def config(vit_folder: Path, tmp_path: Path) -> Config:
    return {**small(tmp_path, vit_folder), "num-server-rounds": 2, "trackers": "mlflow"}


def told(folder: Path) -> dict[int, dict[str, float]]:
    return {line["round"]: scalars_of(line) for line in rounds(folder)}


def test_a_line_s_numbers_are_flat_and_unchanged() -> None:
    line = {
        "round": 2,
        "loss": None,
        "accuracy": 0.1 + 0.2,
        "groups": {"sex": {"f": {"accuracy": 0.5, "examples": 3}}},
        "rejected": [{"client": "a"}],
        "note": "text",
        "flag": True,
        "staleness": {"1": 4},
        "method": {"": 1.5},
    }
    assert list(scalars_of(line).items()) == [
        ("round", 2),
        ("accuracy", 0.30000000000000004),
        ("groups/sex/f/accuracy", 0.5),
        ("groups/sex/f/examples", 3),
        ("staleness/1", 4),
        ("method/-", 1.5),
    ]


def test_a_run_tells_what_it_writes(config: Config, store: Store) -> None:
    folder = run({**config, "strategy-args": "weights=uniform"}, report=False)
    assert store.kept == told(folder)
    ((tracked, kept),) = store.starts
    assert (tracked.folder, tracked.name, kept) == (folder, "whole", -1)
    assert tracked.settings["strategy-args"] == 'weights="uniform"'
    assert tracked.tags == {"method": "fedavg", "data": "digits"}
    (ending,) = store.ends
    assert ending.facts == {"status": "finished", "adapter": str(folder / "adapter")}
    assert "Server test set: accuracy" in ending.table
    assert "After round 2" in ending.table


def test_a_cut_run_goes_on_as_the_same_tracked_run(config: Config, store: Store) -> None:
    longer = {**config, "num-server-rounds": 4, "checkpoint-every": 2}
    with pytest.raises(Killed):
        run(longer, kill_at(7), report=False)  # in round 4, two after the checkpoint
    assert sorted(store.kept) == [0, 1, 2, 3]
    assert [ending.state for ending in store.ends] == ["failed"]
    before = dict(store.kept)
    del store.kept[1], store.kept[2], store.kept[3]  # the tracker was away
    folder = run({**longer, "resume": True}, report=False)
    (first, _), (second, kept) = store.starts
    assert (second.uid, kept) == (first.uid, 2)
    assert store.kept == told(folder)
    assert store.kept[2] == before[2]
    assert store.ends[-1].state == "finished"


def test_a_finished_run_can_be_told_later(config: Config, store: Store) -> None:
    folder = run({**config, "trackers": ""}, report=False)
    assert not store.starts
    run({**config, "resume": True}, report=False)
    assert store.kept == told(folder)


@pytest.mark.parametrize(
    ("fails_at", "numbers", "ends"),
    [(("start", 0), [], 0), (("round", 1), [0], 0), (("end", 0), [0, 1, 2], 0)],
)
def test_a_tracker_that_fails_is_named_once_and_ends_nothing(
    fails_at: tuple[str, int],
    numbers: list[int],
    ends: int,
    store: Store,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    store.fails_at = fails_at
    tracked = TrackedRun(tmp_path, "uid", "run", {}, {})
    tracking = Tracking(["mlflow"], tracked)
    tracking.start([])
    for number in range(3):
        tracking.round(json.dumps({"round": number}))
    tracking.end(Ending("finished"))
    assert (sorted(store.kept), len(store.ends)) == (numbers, ends)
    (line,) = [r.getMessage() for r in caplog.records if "mlflow" in r.getMessage()]
    assert "ConnectionError" in line
    assert "resume=true" in line
    assert "hunter2" not in line
    assert "\x1b" not in line


def test_a_run_outlives_its_tracker(config: Config, store: Store) -> None:
    store.fails_at = ("round", 1)
    folder = run(config, report=False)
    assert sorted(store.kept) == [0]
    assert json.loads((folder / "status.json").read_text())["state"] == "finished"


def test_only_the_first_end_counts(store: Store, tmp_path: Path) -> None:
    tracking = Tracking(["mlflow"], TrackedRun(tmp_path, "uid", "run", {}, {}))
    tracking.start([])
    tracking.end(Ending("stopped"))
    tracking.end(Ending("failed"))
    assert [ending.state for ending in store.ends] == ["stopped"]


def test_an_unknown_tracker_is_refused_with_the_nearest() -> None:
    with pytest.raises(
        ConfigurationError, match=r"trackers = \"mlflw\": no tracker 'mlflw'; did you mean 'mlflow'"
    ):
        parse_run_config({"trackers": "mlflw"}, registry())
    assert parse_run_config({"trackers": "wandb, tensorboard"}, registry()).trackers == (
        "wandb",
        "tensorboard",
    )


def test_a_missing_package_is_told_with_its_extra_before_the_first_message(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app.trackers.names, "_installed", lambda name: False)
    with pytest.raises(ConfigurationError, match=r'pip install "fedbouquet\[mlflow\]"'):
        run(config, lambda message, reply: pytest.fail("a message was sent"), report=False)
    status = json.loads((Path(str(config["out-dir"])) / "whole/status.json").read_text())
    assert (status["state"], status["code"]) == ("failed", 2)


def test_a_folder_that_wandb_left_is_no_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in TRACKERS:
        (tmp_path / name / "run").mkdir(parents=True)
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(ConfigurationError) as caught:
        check_installed(TRACKERS)
    assert len(caught.value.errors) == 3
