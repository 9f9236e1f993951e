"""Two SuperNodes that have base models of their own, of which the server has none."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from flower_host import FlowerHost, Nodes, wait_until
from hospitals import Sites, metrics_of
from safetensors.numpy import load
from transformers import ViTConfig, ViTForImageClassification


@pytest.fixture(scope="module")
def models(vit_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """``hospital-a`` has a wider model than the server's test base, ``hospital-b`` a cut one."""
    wide = tmp_path_factory.mktemp("own") / "wide"
    config = ViTConfig.from_pretrained(vit_folder)
    config.hidden_size = 24
    torch.manual_seed(2)
    ViTForImageClassification(config).save_pretrained(wide)
    shutil.copyfile(vit_folder / "preprocessor_config.json", wide / "preprocessor_config.json")
    return {"hospital-a": str(wide), "hospital-b": f"{vit_folder}@depth=1"}


@pytest.fixture(scope="module")
def states(
    host: FlowerHost,
    sites: Sites,
    models: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Path]:
    """The running nodes' state folders; they are reached as ``own``."""
    folder = tmp_path_factory.mktemp("states")
    nodes = Nodes(host)
    for name, model in models.items():
        nodes.add(
            name,
            f'client-id="{name}" data-path="{sites.clients / name}" model="{model}" '
            f'state-dir="{folder / name}"',
        )
    host.connection("own", address=nodes.address, insecure=True)
    for name in models:
        wait_until(lambda name=name: "SuperNode ID" in host.log(name), 60.0, name)
    return {name: folder / name for name in models}


def kept(state: Path, run: Path) -> dict[str, np.ndarray]:
    """What a node's client keeps of a run."""
    uid = (run / "uid").read_text().strip()
    (folder,) = (state / "personal" / uid).iterdir()
    arrays = load(max(folder.iterdir()).read_bytes()[64:])
    assert all(np.isfinite(value).all() for value in arrays.values())
    return arrays


@pytest.mark.slow
def test_nodes_with_models_of_their_own_share_what_is_beside_them(
    host: FlowerHost,
    sites: Sites,
    models: dict[str, str],
    states: dict[str, Path],
    tmp_path: Path,
) -> None:
    settings = {
        "strategy": "pfedlora",
        "strategy-args": "rank=2",
        "num-server-rounds": 1,
        "evaluate-every": 0,
        "local-steps": 2,
        "quorum": 2,
        "threads": 1,
        "out-dir": str(tmp_path),
        "run-name": "own",
        "public-data": str(sites.public),
        "server-data-path": str(sites.test),
    }
    run = tmp_path / "own"
    done = host.flwr_run(settings, on="own")
    assert json.loads((run / "status.json").read_text())["state"] == "finished", done.stdout
    first, last = metrics_of(run)
    assert (first["rejected"], last["rejected"]) == ([], [])
    assert last["clients_answered"] == 2
    # A: 2 x 64, B: 10 x 2, of two clients.
    assert last["bytes_up"] == last["bytes_down"] == 2 * 4 * (2 * 64 + 10 * 2)
    with (run / "clients.csv").open() as file:
        assert {row["client"]: row["model"] for row in csv.DictReader(file)} == models
    shapes = {name: kept(states[name], run)["personal.projection"].shape for name in models}
    assert shapes == {"hospital-a": (64, 24), "hospital-b": (64, 16)}

    # A method that averages whole adapters cannot take them, and says so at the start.
    settings |= {"strategy": "fedavg", "strategy-args": "", "run-name": "whole"}
    done = host.flwr_run(settings, on="own")
    status = json.loads((tmp_path / "whole" / "status.json").read_text())
    assert status["state"] == "failed", done.stdout
    assert "take a method for models that differ" in status["message"]


@pytest.mark.slow
def test_nodes_of_two_widths_learn_towards_the_anchors_of_a_server_without_a_model(
    host: FlowerHost, models: dict[str, str], states: dict[str, Path], tmp_path: Path
) -> None:
    settings = {
        "strategy": "fedsa",
        "model": "nobody/has-it",
        "model-args": "feature-dim=32",
        "num-server-rounds": 2,
        "local-steps": 4,
        "quorum": 2,
        "threads": 1,
        "out-dir": str(tmp_path),
        "run-name": "anchors",
    }
    run = tmp_path / "anchors"
    done = host.flwr_run(settings, on="own")
    assert json.loads((run / "status.json").read_text())["state"] == "finished", done.stdout
    lines = metrics_of(run)
    assert [line["rejected"] for line in lines] == [[], [], []]
    for line in lines[1:]:
        # C x D numbers and a mark a class up, the anchors down; nothing else, of two clients.
        assert line["bytes_up"] == 2 * 4 * (10 * 32 + 10)
        assert line["bytes_down"] == 2 * 4 * 10 * 32
        assert line["method"]["classes_present"] == 10
    assert lines[2]["method"]["anchor_distance"] < lines[1]["method"]["anchor_distance"]
    key = "base_model.model.classifier.0.weight"
    shapes = {name: kept(states[name], run)[key].shape for name in models}
    assert shapes == {"hospital-a": (32, 24), "hospital-b": (32, 16)}
    # Neither adapters nor counts by label leave a site that does not say so.
    assert not (run / "adapter").exists()
    assert not (run / "classes.json").exists()
