"""The example plug-in with real processes: simulated, and on one of two nodes that has it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from flower_host import ROOT, FlowerHost, Nodes, wait_until
from hospitals import Sites, metrics_of

_TRAINING = {
    "strategy": "fednova",
    "optimizer": "sgd",
    "num-server-rounds": 1,
    "adapter-args": "rank=2",
    "evaluate-every": 0,
    "threads": 1,
}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """``examples/plugin``, installed into a folder; the search path that finds it."""
    folder = tmp_path_factory.mktemp("installed")
    source = shutil.copytree(ROOT / "examples" / "plugin", folder / "source")
    words = ["install", "-q", "--no-deps", "--no-build-isolation", "--no-index", "--target"]
    pip = [sys.executable, "-m", "pip", *words, str(folder / "packages"), str(source)]
    subprocess.run(pip, check=True)
    return os.pathsep.join(
        [str(folder / "packages"), *filter(None, [os.environ.get("PYTHONPATH")])]
    )


@pytest.fixture
def settings(vit_folder: Path, tmp_path: Path) -> dict[str, object]:
    return {**_TRAINING, "out-dir": str(tmp_path), "model": str(vit_folder)}


@pytest.mark.slow
def test_it_is_simulated(
    host: FlowerHost, installed: str, settings: dict[str, object], tmp_path: Path
) -> None:
    host.env["PYTHONPATH"] = installed
    done = host.flwr_run({**settings, "run-name": "simulated", "num-clients": 2})
    assert _state(tmp_path / "simulated") == "finished", done.stdout
    assert metrics_of(tmp_path / "simulated")[-1]["clients_answered"] == 2


@pytest.mark.slow
def test_a_node_without_it_is_refused_by_name_and_the_other_trains(
    host: FlowerHost, sites: Sites, installed: str, settings: dict[str, object], tmp_path: Path
) -> None:
    host.env["PYTHONPATH"] = installed
    nodes = Nodes(host)
    for name, env in (("hospital-a", {}), ("hospital-b", {"PYTHONPATH": str(tmp_path)})):
        config = f'client-id="{name}" data-path="{sites.clients / name}"'
        nodes.add(name, f'{config} state-dir="{tmp_path / name}"', env)
    host.connection("lab", address=nodes.address, insecure=True)
    for name in ("hospital-a", "hospital-b"):
        wait_until(lambda name=name: "SuperNode ID" in host.log(name), 60.0, name)
    real = {"run-name": "real", "server-data-path": str(sites.test)}
    done = host.flwr_run({**settings, **real}, on="lab")
    assert _state(tmp_path / "real") == "finished", done.stdout
    before, last = metrics_of(tmp_path / "real")
    (refusal,) = before["rejected"]  # type: ignore[misc]
    assert refusal["client"] == "hospital-b"
    assert "pip install bouquet-fednova==0.1.0" in refusal["detail"]
    assert (last["clients_asked"], last["clients_answered"]) == (1, 1)


def _state(run: Path) -> object:
    status = run / "status.json"
    return json.loads(status.read_text()).get("state") if status.is_file() else None
