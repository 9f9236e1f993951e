"""The gate in whole runs: what it remembers is in the checkpoint, what it finds in the record."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from flwr.app import Array, ArrayRecord, Message

from app.client_app import app
from app.server.job import run_job
from fedbouquet.testing import LocalGrid

Config = dict[str, str | int | float | bool]


class Killed(BaseException):
    """The server's process ends."""


@pytest.fixture
def config(tmp_path: Path, vit_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.setattr("app.report.write_report", lambda folder: folder / "report.html")
    return {
        "model": str(vit_folder),
        "num-clients": 4,
        "num-server-rounds": 3,
        "partition": "iid",
        "out-dir": str(tmp_path),
        "batch-size": 64,
        "local-epochs": 1,
        "evaluate-every": 0,
        "norm-factor": 20.0,
    }


def run(config: Config, name: str, policy: str, die: bool = False) -> Path:
    """Train; the first node's answer of round 3 is a thousand times too large."""

    def tamper(message: Message, reply: Message) -> Message:
        config_record = next(iter(message.content.config_records.values()), {})
        third = config_record.get("server-round") == 3
        if message.metadata.message_type == "train" and third:
            if die:
                raise Killed
            if message.metadata.dst_node_id == 1000:
                (key,) = reply.content.array_records
                flat = reply.content.array_records[key]["flat"].numpy()
                reply.content[key] = ArrayRecord({"flat": Array(flat * 1000)})
        return reply

    places = [{"partition-id": i, "num-partitions": 2} for i in range(2)]
    run_config: Config = {**config, "run-name": name, "norm-policy": policy}
    if (Path(str(config["out-dir"])) / name).exists():
        run_config["resume"] = True
    return run_job(LocalGrid(app, places, run_config, tamper), run_config)


def last_round(folder: Path) -> dict[str, object]:
    line = json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])
    del line["seconds"]
    return line  # type: ignore[no-any-return]


def adapter(folder: Path) -> bytes:
    return (folder / "adapter/adapter_model.safetensors").read_bytes()


@pytest.mark.parametrize("policy", ["reject", "clip"])
def test_a_resumed_run_knows_what_is_usual(config: Config, policy: str) -> None:
    whole = run(config, "whole", policy)
    with pytest.raises(Killed):
        run(config, "killed", policy, die=True)
    resumed = run(config, "killed", policy)
    assert adapter(resumed) == adapter(whole)
    assert last_round(resumed) == last_round(whole)
    found = last_round(whole)["rejected" if policy == "reject" else "remarks"]
    assert isinstance(found, list)
    assert [(f["client"], f["code"]) for f in found] == [
        ("client-0000", "norm"),
        ("client-0002", "norm"),
    ]
