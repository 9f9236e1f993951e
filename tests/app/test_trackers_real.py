"""The real packages, where they are installed: what they keep is what metrics.jsonl says."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.trackers.scalars import scalars_of
from app.trackers.tracker import Ending, TrackedRun
from app.trackers.tracking import Tracking

Kept = Mapping[int, Mapping[str, float]]
SETTINGS = {"strategy": "fedavg", "learning-rate": 0.1, "resume": False, "num-server-rounds": 4}
TAGS = {"method": "fedavg", "data": "digits"}
NAMES = {"<25", "", "a/b", "é", ".."}


def line(number: int) -> str:
    return json.dumps(
        {
            "round": number,
            "train_loss": None if number == 0 else 1 / (number + 2),
            "accuracy": 0.1 + number / 7,
            "macro_f1": float("nan") if number == 1 else 0.25,
            "bytes_up": 76_432_101 * number,
            "groups": {"age": {name: {"accuracy": 1 / 3} for name in sorted(NAMES)}},
            "rejected": [{"client": "a", "round": number}],
            "remarks": [],
        }
    )


def run_of(folder: Path) -> TrackedRun:
    run = folder / "run"
    run.mkdir(exist_ok=True)
    return TrackedRun(run, "0123456789abcdef", "run", SETTINGS, TAGS)


def tensorboard_keeps(run: TrackedRun) -> Kept:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run.folder / "tensorboard"), {"scalars": 0})
    events.Reload()
    kept: dict[int, dict[str, float]] = {}
    for tag in events.Tags()["scalars"]:
        for event in events.Scalars(tag):
            assert tag not in kept.setdefault(event.step, {})
            kept[event.step][tag] = event.value
    return kept


def mlflow_keeps(run: TrackedRun) -> Kept:
    from mlflow.tracking import MlflowClient

    from app.trackers.mlflow import metric_name

    client = MlflowClient(f"sqlite:///{run.folder.parent / 'mlflow.db'}")
    number = (run.folder / "mlflow-run").read_text().strip()
    found = client.get_run(number)
    assert found.data.params == {name: str(value) for name, value in SETTINGS.items()}
    assert TAGS.items() <= found.data.tags.items()
    assert found.info.run_name == "run"
    assert len(client.search_runs([found.info.experiment_id])) == 1
    names = {metric_name(name): name for name in scalars_of(json.loads(line(2)))}
    kept: dict[int, dict[str, float]] = {}
    for name in found.data.metrics:
        for point in client.get_metric_history(number, name):
            assert names[name] not in kept.setdefault(point.step, {})
            kept[point.step][names[name]] = point.value
    return kept


def wandb_records(file: Path) -> Iterator[Any]:
    """Read W&B's file: a LevelDB log of protobuf records behind a header of 7 bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, place, whole = file.read_bytes(), 7, b""
    while place + 7 <= len(data):
        room = 32768 - place % 32768
        if room < 7:
            place += room
            continue
        _, length, kind = struct.unpack("<IHB", data[place : place + 7])
        whole += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # a whole record, or the last piece of one
            yield Record.FromString(whole)
            whole = b""


def wandb_keeps(run: TrackedRun) -> Kept:
    kept: dict[int, dict[str, float]] = {}
    files = sorted((run.folder / "wandb").glob("offline-run-*/*.wandb"))
    for record in (record for file in files for record in wandb_records(file)):
        if record.HasField("run"):
            assert (record.run.run_id, record.run.display_name) == (run.uid, "run")
        if record.HasField("history"):
            items = {i.key or "/".join(i.nested_key): i.value_json for i in record.history.item}
            step = record.history.step.num
            assert step not in kept
            kept[step] = {k: json.loads(v) for k, v in items.items() if not k.startswith("_")}
    return kept


KEEPS: Mapping[str, Callable[[TrackedRun], Kept]] = {
    "tensorboard": tensorboard_keeps,
    "mlflow": mlflow_keeps,
    "wandb": wandb_keeps,
}


@pytest.fixture(params=KEEPS)
def name(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    pytest.importorskip(request.param)
    for variable in ("MLFLOW_TRACKING_URI", "WANDB_API_KEY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("WANDB_MODE", "offline")
    return str(request.param)


def test_it_keeps_the_same_numbers_once_also_of_a_run_that_was_cut(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = run_of(tmp_path)
    cut = Tracking([name], run)
    cut.start([])
    for number in range(4):  # the checkpoint holds round 2 only, and round 3 is computed again
        cut.round(line(number))
    cut.end(Ending("stopped"))
    next_second()
    cut = Tracking([name], run)
    cut.start([line(number) for number in range(3)])
    cut.end(Ending("stopped"))  # right after the checkpoint of round 3
    next_second()
    again = Tracking([name], run)
    again.start([line(number) for number in range(4)])
    again.round(line(4))
    again.end(Ending("finished", "accuracy | 0.5", str(run.folder / "adapter")))
    assert "is left out" not in caplog.text
    expected = {n: scalars_of(json.loads(line(n))) for n in range(5)}
    kept_as = np.float32 if name == "tensorboard" else np.float64
    assert str(sorted_of(KEEPS[name](run))) == str(sorted_of(expected, kept_as))  # NaNs too


def next_second() -> None:
    """Wait: the names of W&B's folders, and the order of TensorBoard's files, go by the second."""
    time.sleep(1.05 - time.time() % 1)


def sorted_of(
    kept: Kept, kind: type[np.floating[Any]] = np.float64
) -> list[tuple[int, list[tuple[str, float]]]]:
    return [(n, sorted((k, float(kind(v))) for k, v in kept[n].items())) for n in sorted(kept)]
