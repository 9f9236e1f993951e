"""The data of a scenario, a node's own answer, and a rehearsal with nodes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from local_runs import run, small
from typer.testing import CliRunner

from app.cli import main
from app.doctor.finding import Finding
from app.doctor.rehearsal import read_rehearsal


def doctor(*words: str) -> tuple[int, dict[str, list[dict[str, str]]]]:
    done = CliRunner().invoke(main, ["doctor", *words, "--format", "json"])
    found: dict[str, list[dict[str, str]]] = {}
    for one in json.loads(done.output):
        found.setdefault(one["about"], []).append(one)
    return done.exit_code, found


def test_a_simulation_s_data_and_base_are_found(vit_folder: Path) -> None:
    _, found = doctor(f"model={vit_folder}", "num-clients=3")
    assert "3 clients, 10 labels" in found["data"][0]["found"]
    assert "fingerprint" in found["base"][0]["found"]


def test_wrong_settings_and_data_are_problems_with_remedies(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("words,label\na,1\nb,2\n")
    code, found = doctor("learning-rate=-1", "strategi=fedavg")
    assert code == 1
    assert len(found["settings"]) == 2
    code, found = doctor(f"dataset={tmp_path}/rows.csv", "label-column=lable")
    assert code == 1
    assert "label" in found["data"][0]["found"]
    assert found["data"][0]["remedy"]


def test_a_machine_is_asked_as_a_node(tmp_path: Path, vit_folder: Path) -> None:
    config = f'client-id="a" data-path="{tmp_path}/none"'
    code, found = doctor(f"model={vit_folder}", "--node", config)
    assert code == 1
    assert "none" in found["node"][0]["found"]
    (tmp_path / "rows.csv").write_text(
        "text,label\n" + "".join(f"row {i},{i % 2}\n" for i in range(20))
    )
    config = f'client-id="a" data-path="{tmp_path}/rows.csv"'
    _, found = doctor(f"model={vit_folder}", "--node", f"{config} share-label-count=true")
    misspelt, card = (one["found"] for one in found["node"])
    assert misspelt.startswith("'share-label-count' is nothing that a node can say; did you mean")
    assert card == "a: 16 rows to train, 4 to test"


def test_a_rehearsal_greets_the_nodes_and_trains_nothing(tmp_path: Path, vit_folder: Path) -> None:
    folder = run({**small(tmp_path, vit_folder), "rehearsal": True})
    assert not (folder / "metrics.jsonl").exists()
    assert json.loads((folder / "status.json").read_text())["state"] == "finished"
    found = list(read_rehearsal(folder))
    assert [one.level for one in found] == ["good", "good"]
    assert all("takes part" in one.found for one in found)


def test_what_nodes_said_becomes_findings(tmp_path: Path) -> None:
    node = {
        "clients": ["a", "b"],
        "examples": 10,
        "base": "x",
        "versions": {"torch": "2.13.0"},
        "seconds_apart": -90.0,
        "free_bytes": 1000,
        "takes_part": True,
    }
    other = {**node, "clients": ["c"], "versions": {"torch": "2.6.0"}, "seconds_apart": 0.0}
    value = {"nodes": [node, other], "refused": {"d": "its base differs"}}
    (tmp_path / "rehearsal.json").write_text(json.dumps(value))
    found = {(one.level, one.about): one.found for one in read_rehearsal(tmp_path)}
    assert found["problem", "node of a and 1 more"] == "its clock is 90 s behind"
    assert found["warning", "versions"] == "nodes have torch 2.13.0, 2.6.0"
    assert found["problem", "node of d"] == "its base differs"
    assert ("warning", "node of c") in found


def test_a_rehearsal_that_never_got_there_is_a_problem(tmp_path: Path) -> None:
    (one,) = list(read_rehearsal(tmp_path))
    assert isinstance(one, Finding)
    assert one.level == "problem"


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOUQUET_HOME", str(tmp_path / "state"))
