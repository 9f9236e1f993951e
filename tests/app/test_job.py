"""Whole runs in this process: the real ServerApp side against the real ClientApp."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, Message
from safetensors.numpy import load_file

from app.client_app import app
from app.server.job import run_job
from fedbouquet.testing import LocalGrid
from models.errors import BouquetError, DataError, ParticipationError, RunDirectoryError

Config = dict[str, str | int | float | bool]
Tamper = Callable[[Message, Message], Message | None]


@pytest.fixture(autouse=True)
def _no_pictures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes seconds; one run shows that it is done."""
    if "leaves_everything" not in request.node.name:
        monkeypatch.setattr("app.report.write_report", lambda folder: folder / "report.html")


@pytest.fixture
def base(tmp_path: Path, vit_folder: Path) -> Config:
    return {
        "model": str(vit_folder),
        "num-clients": 6,
        "num-server-rounds": 2,
        "partition": "iid",
        "partition-args": "",
        "out-dir": str(tmp_path / "runs"),
        "run-name": "run",
        "batch-size": 64,
        "node-wait-timeout": 5.0,
    }


def run(config: Config, nodes: int = 2, tamper: Tamper | None = None) -> Path:
    places = [{"partition-id": i, "num-partitions": nodes} for i in range(nodes)]
    return run_job(LocalGrid(app, places, config, tamper), config)


def rounds(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_run_leaves_everything_behind(base: Config) -> None:
    folder = run({**base, "baselines": "local,global", "clients-per-round": 4})
    for name in ("config.toml", "report.html", "adapter/README.md", "labels.json", "plots"):
        assert (folder / name).exists(), name
    assert json.loads((folder / "status.json").read_text())["state"] == "finished"
    lines = rounds(folder)
    assert [line["round"] for line in lines] == [0, 1, 2]
    assert lines[0]["train_loss"] is None
    for line in lines[1:]:
        assert (line["clients_asked"], line["clients_answered"], line["rejected"]) == (4, 4, [])
        size = sum(a.size for a in load_file(folder / "adapter/adapter_model.safetensors").values())
        assert line["bytes_up"] == line["bytes_down"] == 4 * 4 * size
    with (folder / "clients.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["client"] for row in rows] == [f"client-{i:04d}" for i in range(6)]
    assert sum(int(row["rounds"]) for row in rows) == 8
    assert all(row["accuracy_before"] and row["accuracy_after"] for row in rows)
    for name in ("local", "global"):
        other = rounds(folder / "baselines" / name)
        assert other[-1]["client_accuracy_mean"] is not None
        assert (other[-1]["accuracy"] is None) == (name == "local")


def adapter(folder: Path) -> bytes:
    return (folder / "adapter/adapter_model.safetensors").read_bytes()


def test_same_seed_same_bits_other_seed_other_bits(base: Config) -> None:
    first = adapter(run({**base, "run-name": "a"}))
    assert adapter(run({**base, "run-name": "b"})) == first
    assert adapter(run({**base, "run-name": "c", "seed": 7})) != first


def test_layout_of_nodes_and_packs_hardly_shows(base: Config) -> None:
    one = run({**base, "run-name": "one"}, nodes=1)
    three = run({**base, "run-name": "three", "pack-bytes": 1}, nodes=3)
    a, b = (load_file(f / "adapter/adapter_model.safetensors") for f in (one, three))
    for key in a:
        np.testing.assert_allclose(a[key], b[key], atol=1e-7)


def test_half_precision_on_the_wire_halves_the_bytes(base: Config) -> None:
    full = rounds(run({**base, "run-name": "full"}))[-1]
    half = rounds(run({**base, "run-name": "half", "wire-dtype": "bfloat16"}))[-1]
    assert half["bytes_up"] * 2 == full["bytes_up"]  # type: ignore[operator]
    assert half["train_loss"] == pytest.approx(full["train_loss"], rel=0.05)


def spoil(kind: str, change: Callable[[Array], Array]) -> Tamper:
    """Change the arrays of every training answer of the first node."""

    def tamper(message: Message, reply: Message) -> Message:
        if message.metadata.message_type == kind and message.metadata.dst_node_id == 1000:
            for name in list(reply.content.array_records):
                record = reply.content.array_records[name]
                reply.content[name] = ArrayRecord({k: change(a) for k, a in record.items()})
        return reply

    return tamper


def with_nan(array: Array) -> Array:
    values = array.numpy().copy()
    values[0, 3] = np.nan
    return Array(values)


def test_nan_costs_one_client_and_is_named(base: Config) -> None:
    folder = run(base, tamper=spoil("train", with_nan))
    for line in rounds(folder)[1:]:
        (rejected,) = line["rejected"]  # type: ignore[misc]
        assert rejected["client"] == "client-0000"
        assert rejected["code"] == "nonfinite"
        assert line["clients_answered"] == 5
    with (folder / "clients.csv").open() as stream:
        assert next(csv.DictReader(stream))["rejected"] == "2"
    assert all(
        np.isfinite(a).all()
        for a in load_file(folder / "adapter/adapter_model.safetensors").values()
    )


def test_a_wrong_shape_costs_the_pack_and_the_rest_goes_on(base: Config) -> None:
    folder = run(base, tamper=spoil("train", lambda array: Array(array.numpy()[:, :-1])))
    line = rounds(folder)[1]
    assert line["clients_answered"] == 3
    assert {r["code"] for r in line["rejected"]} == {"shape"}  # type: ignore[union-attr]


def test_nobody_answers_and_the_run_fails(base: Config) -> None:
    def swallow(message: Message, reply: Message) -> Message | None:
        return None if message.metadata.message_type == "train" else reply

    with pytest.raises(ParticipationError, match=r"round 1: 0 of 6 clients answered, quorum is 2"):
        run({**base, "quorum": 2, "round-timeout": 0.2}, tamper=swallow)
    status = json.loads((Path(str(base["out-dir"])) / "run/status.json").read_text())
    assert (status["state"], status["code"]) == ("failed", 5)


def test_a_lost_pack_is_asked_again_once(base: Config) -> None:
    lost: list[str] = []

    def lose_first(message: Message, reply: Message) -> Message:
        from flwr.app import Error

        if message.metadata.message_type == "train" and not lost:
            lost.append("x")
            return Message(Error(code=3, reason="actor died"), reply_to=message)
        return reply

    folder = run(base, tamper=lose_first)
    assert [line["clients_answered"] for line in rounds(folder)[1:]] == [6, 6]
    assert lost


def test_a_name_is_not_used_twice(base: Config) -> None:
    run(base)
    with pytest.raises(RunDirectoryError, match="choose another run-name"):
        run(base)


def test_a_missing_column_ends_the_run_and_is_named(base: Config, tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("text,topic\nhello,x\n")
    with pytest.raises(BouquetError, match="label"):
        run({**base, "dataset": str(tmp_path / "train.csv"), "label-column": "label"})


def test_one_class_is_nothing_to_learn(base: Config, tmp_path: Path) -> None:
    rows = "".join(f"text {i},x\n" for i in range(60))
    (tmp_path / "train.csv").write_text("text,label\n" + rows)
    with pytest.raises(DataError, match="only one class"):
        run({**base, "dataset": str(tmp_path / "train.csv")})


@pytest.mark.parametrize(
    "change",
    [
        {"strategy": "fedopt > fedavg", "strategy-args": "fedopt.optimizer=yogi"},
        {"objective": "fedprox", "objective-args": "mu=1.0"},
        {"adapter": "bias"},
        {"adapter": "lora", "adapter-args": "rank=2, dora=true"},
        {"partition": "dirichlet", "partition-args": "alpha=0.5, shift='rotation', groups=2"},
        {"optimizer": "sgd", "optimizer-args": "momentum=0.9", "local-steps": 3},
        {"evaluate-every": 0},
    ],
)
def test_settings_reach_the_clients(base: Config, change: Config) -> None:
    plain = rounds(run({**base, "run-name": "plain"}))[-1]
    other = rounds(run({**base, "run-name": "other", **change}))[-1]
    assert other["accuracy"] is not None
    if change != {"evaluate-every": 0}:
        assert other["loss"] != plain["loss"]
    else:
        assert other["loss"] == plain["loss"]


def test_text_runs_too(base: Config, bert_folder: Path, tmp_path: Path) -> None:
    rows = "".join(f"a very {'good' if i % 2 else 'bad'} film,{i % 2},{i % 3}\n" for i in range(90))
    (tmp_path / "train.csv").write_text("text,label,who\n" + rows)
    folder = run(
        {
            **base,
            "model": str(bert_folder),
            "dataset": str(tmp_path / "train.csv"),
            "partition": "natural-id",
            "partition-args": "column='who'",
            "model-args": "max-length=8",
            "group-columns": "who",
            "num-server-rounds": 6,
            "learning-rate": 0.05,
            "batch-size": 8,
        }
    )
    last = rounds(folder)[-1]
    assert last["accuracy"] == 1.0
    assert set(last["groups"]["who"]) == {"0", "1", "2"}  # type: ignore[index]
    config = json.loads((folder / "adapter/adapter_config.json").read_text())
    assert config["task_type"] == "SEQ_CLS"


def test_a_base_in_half_precision_runs(base: Config, vit_folder: Path, tmp_path: Path) -> None:
    import shutil

    import torch
    from transformers import AutoModelForImageClassification

    half = AutoModelForImageClassification.from_pretrained(vit_folder).to(torch.bfloat16)
    half.save_pretrained(tmp_path / "half")
    shutil.copy(vit_folder / "preprocessor_config.json", tmp_path / "half")
    folder = run({**base, "model": str(tmp_path / "half"), "num-server-rounds": 1})
    arrays = load_file(folder / "adapter/adapter_model.safetensors")
    assert {str(a.dtype) for a in arrays.values()} == {"float32"}
    last = rounds(folder)[-1]
    assert last["train_loss"] < rounds(folder)[0]["loss"] * 1.1  # type: ignore[operator]


def test_below_the_quorum_a_round_does_not_count(base: Config) -> None:
    spoiled = spoil("train", lambda array: Array(array.numpy()[:, :-1]))
    with pytest.raises(ParticipationError, match="3 of 6 clients answered, quorum is 4"):
        run({**base, "quorum": 4}, tamper=spoiled)
