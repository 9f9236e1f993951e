"""A SuperLink and two SuperNodes with data of their own."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from flower_host import FlowerHost, Nodes, wait_until
from hospitals import Sites, metrics_of
from safetensors.numpy import load_file, save_file

_CLIENTS = ("hospital-a", "hospital-b")
_TRAINING = {
    "num-server-rounds": 2,
    "adapter-args": "rank=2",
    "learning-rate": 0.005,
    "evaluate-every": 0,
    "threads": 1,
}


@dataclass(frozen=True)
class Lab:
    """Two hospitals' nodes under one SuperLink, named ``lab``, and each one's state folder."""

    states: dict[str, Path]


def _package(folder: Path, checkpoint: Path, shift: float) -> dict[str, str]:
    """Make an importable package with a checkpoint, and the environment that finds it."""
    model = folder / "sitebase" / "model"
    shutil.copytree(checkpoint, model)
    (folder / "sitebase" / "__init__.py").touch()
    weights = load_file(model / "model.safetensors")
    weights["classifier.bias"] = weights["classifier.bias"] + np.float32(shift)
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    return {"PYTHONPATH": str(folder)}


@pytest.fixture(scope="module")
def lab(
    host: FlowerHost, sites: Sites, vit_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Lab:
    """Start them; ``hospital-b`` has another version of the package ``sitebase`` than the rest."""
    folder = tmp_path_factory.mktemp("lab")
    same = _package(folder / "same", vit_folder, 0.0)
    other = _package(folder / "other", vit_folder, 0.5)
    nodes = Nodes(host, same)
    for name, env, shares in (("hospital-a", same, "true"), ("hospital-b", other, "false")):
        nodes.add(
            name,
            f'client-id="{name}" data-path="{sites.clients / name}" '
            f'state-dir="{folder / name}" share-label-counts={shares}',
            env,
        )
    host.connection("lab", address=nodes.address, insecure=True)
    for name in _CLIENTS:
        wait_until(lambda name=name: "SuperNode ID" in host.log(name), 60.0, name)
    return Lab({name: folder / name for name in _CLIENTS})


def _accuracies(run: Path) -> dict[str, tuple[float, float]]:
    with (run / "clients.csv").open() as file:
        rows = list(csv.DictReader(file))
    return {r["client"]: (float(r["accuracy_before"]), float(r["accuracy_after"])) for r in rows}


def _finished(run: Path, output: str) -> None:
    status = json.loads((run / "status.json").read_text()) if run.is_dir() else {}
    assert status.get("state") == "finished", output


@pytest.fixture(scope="module")
def simulation(
    simulator: FlowerHost, sites: Sites, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The same two clients, folders and seed, simulated."""
    out = tmp_path_factory.mktemp("simulated")
    settings = {
        **_TRAINING,
        "out-dir": str(out),
        "run-name": "simulated",
        "dataset": str(sites.clients),
        "partition": "folders",
        "partition-args": "",
        "public-data": str(sites.public),
        "server-data-path": str(sites.test),
    }
    done = simulator.flwr_run(settings)
    _finished(out / "simulated", done.stdout)
    return out / "simulated"


@pytest.mark.slow
def test_nodes_find_the_adapter_of_a_simulation(
    host: FlowerHost, lab: Lab, simulation: Path, sites: Sites, tmp_path: Path
) -> None:
    run = tmp_path / "real"
    settings = {
        **_TRAINING,
        "out-dir": str(tmp_path),
        "run-name": "real",
        "quorum": 2,
        "public-data": str(sites.public),
        "server-data-path": str(sites.test),
    }
    done = host.flwr_run(settings, on="lab")
    _finished(run, done.stdout)

    name = "adapter/adapter_model.safetensors"
    real, simulated = load_file(run / name), load_file(simulation / name)
    assert real.keys() == simulated.keys()
    for key, value in real.items():
        np.testing.assert_allclose(value, simulated[key], rtol=0, atol=1e-5, err_msg=key)
    assert _accuracies(run) == _accuracies(simulation)
    assert set(_accuracies(run)) == set(_CLIENTS)
    last, expected = metrics_of(run)[-1], metrics_of(simulation)[-1]
    assert (last["clients_answered"], last["rejected"]) == (2, [])
    for figure in ("accuracy", "client_accuracy_mean", "client_accuracy_worst"):
        assert last[figure] == pytest.approx(expected[figure], abs=1e-12)

    # Labels are the union of both sites'; only the site that agreed shows its counts.
    labels = json.loads((run / "labels.json").read_text())
    assert labels["labels"] == [str(digit) for digit in range(10)]
    assert set(labels["clients"]) == {"hospital-a"}
    assert set(labels["clients"]["hospital-a"]) == {str(digit) for digit in range(7)}
    # The embedded base was sent to both, into the folder that each named.
    for state in lab.states.values():
        assert [p.parent.name for p in state.glob("bases/*/config.json")] == [_base_of(run)]


def _base_of(run: Path) -> str:
    from models.checkpoint import fingerprint

    return fingerprint(run / "base")


@pytest.mark.slow
def test_a_node_with_another_base_is_refused_by_name_and_the_run_goes_on(
    host: FlowerHost, lab: Lab, sites: Sites, tmp_path: Path
) -> None:
    run = tmp_path / "other-base"
    settings = {
        **_TRAINING,
        "num-server-rounds": 1,
        "out-dir": str(tmp_path),
        "run-name": "other-base",
        "model": "pkg:sitebase/model",
        "server-data-path": str(sites.test),
    }
    done = host.flwr_run(settings, on="lab")
    _finished(run, done.stdout)
    print(done.stdout)
    assert "hospital-b refused: its base model has fingerprint" in done.stdout
    before, last = metrics_of(run)
    (refusal,) = before["rejected"]
    assert (refusal["client"], refusal["code"]) == ("hospital-b", "refused")
    assert "install the same checkpoint there" in refusal["detail"]
    assert (last["clients_asked"], last["clients_answered"], last["rejected"]) == (1, 1, [])
    with (run / "clients.csv").open() as file:
        rows = {row["client"]: row for row in csv.DictReader(file)}
    assert [(row["rounds"], row["rejected"]) for row in rows.values()] == [("1", "0"), ("0", "1")]
