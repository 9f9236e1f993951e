"""Whole runs with several models: tables, adapters that PEFT loads, resume."""

from __future__ import annotations

import csv
import functools
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from local_runs import Config, Killed, kill_at, rounds, run, small
from quick_and_slow import one_quick
from safetensors.numpy import load_file

from app.report.reading import read_run
from clients.data import load_federation
from clients.data.spec import DataSpec
from clients.holdings import prepare
from clients.preparation import make_preparation

pytestmark = pytest.mark.usefixtures("no_pictures")

SHIFT = 'shift="rotation", groups=2'
METHODS = {
    "ifca > fedstale > fedit": "clusters=2",
    "cfl > fedavg": "min-round=1, eps1=1e9, eps2=1e-9",
    "adaptive-clusters > flexlora": "warm-up-rounds=1, normalised-threshold=0.9, singletons='stay'",
}


def config_in(folder: Path, vit: Path) -> Config:
    return small(folder, vit) | {
        "num-clients": 5,
        "partition-args": SHIFT,
        "num-server-rounds": 4,
        "state-dir": str(folder / "state"),
        "local-steps": 3,
        "learning-rate": 0.03,
        "evaluate-every": 0,
    }


@pytest.fixture
def base(tmp_path: Path, vit_folder: Path) -> Config:
    return config_in(tmp_path, vit_folder)


@pytest.fixture(scope="module")
def wholes(tmp_path_factory: pytest.TempPathFactory, vit_folder: Path) -> Callable[[str], Path]:
    """One run of each method that nothing disturbs, with four of the five clients a round."""

    @functools.cache
    def whole(name: str) -> Path:
        folder = tmp_path_factory.mktemp("whole")
        return run(config_in(folder, vit_folder) | method(name))

    return whole


def method(name: str) -> Config:
    outer = name.split(" > ")[0]
    options = ", ".join(f"{outer}.{part}" for part in METHODS[name].split(", "))
    cohort = 0 if "cfl" in name else 4
    return {"strategy": name, "strategy-args": options, "clients-per-round": cohort}


def table(file: Path) -> list[dict[str, str]]:
    with file.open() as stream:
        return list(csv.DictReader(stream))


def adapters(folder: Path) -> dict[str, dict[str, np.ndarray]]:
    places = sorted((folder / "clusters").iterdir())
    return {p.name: load_file(p / "adapter" / "adapter_model.safetensors") for p in places}


@pytest.mark.parametrize("name", METHODS)
def test_peft_alone_gives_the_stated_accuracy_of_each_cluster(
    wholes: Callable[[str], Path], vit_folder: Path, name: str
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForImageClassification

    folder = wholes(name)
    last = rounds(folder)[-1]
    assert last["rejected"] == []
    stated = last["clusters"]
    assert 0 < len(stated) <= len(adapters(folder))
    assert len(adapters(folder)) > 1
    assert not (folder / "adapter").exists()
    clients = {row["client"]: row for row in table(folder / "clients.csv")}
    federation = load_federation(
        DataSpec(
            partition="iid",
            partition_args=(("shift", "rotation"), ("groups", 2)),
            num_clients=5,
            partition_seed=42,
        )
    )
    preparation = make_preparation(vit_folder, "image", {})
    for cluster, numbers in stated.items():
        model = AutoModelForImageClassification.from_pretrained(vit_folder)
        place = folder / "clusters" / cluster / "adapter"
        model = PeftModel.from_pretrained(model, place).eval()
        found = []
        for client in (name for name, row in clients.items() if row["cluster"] == cluster):
            part = federation.client(client).test
            data = prepare(part, tuple(str(i) for i in range(10)), preparation)
            with torch.no_grad():
                inputs = data.inputs.batch(np.arange(len(data)), torch.device("cpu"))
                right = model(**inputs).logits.argmax(-1).numpy() == data.targets
            found.append(right.mean())
            assert float(clients[client]["accuracy_after"]) == pytest.approx(right.mean())
        assert numbers["clients"] == len(found)
        assert numbers["client_accuracy_mean"] == pytest.approx(np.mean(found))
        card = (place / "README.md").read_text()
        assert f"{100 * np.mean(found):.2f} %" in card


def test_tables_of_clusters_and_the_drawing(wholes: Callable[[str], Path]) -> None:
    folder = wholes("adaptive-clusters > flexlora")
    rows = table(folder / "clusters.csv")
    # Warm-up in round 1, clusters after round 2.
    assert [row["round"] for row in rows] == ["2"] * 5 + ["3"] * 5 + ["4"] * 5
    last = {row["client"]: row["cluster"] for row in rows[-5:]}
    assert last == {row["client"]: row["cluster"] for row in table(folder / "clients.csv")}
    drawn = json.loads((folder / "clusters.json").read_text())
    assert sorted(drawn["leaves"]) == sorted(drawn["clients"]) == sorted(last)
    assert np.shape(drawn["linkage"]) == (4, 4)
    assert np.shape(drawn["similarity"]) == (5, 5)
    told = read_run(folder).clusters
    assert told is not None
    assert told.likeness is not None
    assert (told.first, told.last) == (1, 4)
    assert dict(zip(told.clients, map(str, told.final.tolist()), strict=True)) == last
    assert np.allclose(told.likeness.linkage, drawn["linkage"])
    assert rounds(folder)[1]["clusters"] == {}


def test_k_models_down_and_one_up_are_counted(base: Config) -> None:
    folder = run(base | {"strategy": "ifca", "strategy-args": "clusters=3, start='distinct'"})
    for line in rounds(folder)[1:]:
        assert line["bytes_down"] == 3 * line["bytes_up"]
    plain = run(base | {"strategy": "fedavg", "run-name": "plain"})
    assert rounds(plain)[1]["bytes_up"] == rounds(folder)[1]["bytes_up"]


@pytest.mark.parametrize(
    ("options", "inside"),
    [
        ("clusters=2, start='random'", "ffa-lora"),
        ("clusters=2, averaging='gradients', start='distinct'", "fedavg"),
        ("clusters=2", "fedper"),
    ],
)
def test_ifca_around_other_client_halves(base: Config, options: str, inside: str) -> None:
    options = ", ".join(f"ifca.{part}" for part in options.split(", "))
    folder = run(base | {"strategy": f"ifca > {inside}", "strategy-args": options})
    lines = rounds(folder)
    assert all(line["rejected"] == [] for line in lines)
    assert lines[-1]["method"]["least_loss"] < lines[2]["method"]["least_loss"]
    assert (folder / "clusters").exists() == (inside != "fedper")


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("at", one_quick([6, 3]))
def test_a_run_killed_and_resumed_ends_in_the_same_bits(
    wholes: Callable[[str], Path], base: Config, name: str, at: int
) -> None:
    whole, broken = wholes(name), base | method(name) | {"run-name": "broken"}
    with pytest.raises(Killed):
        run(broken, kill_at(at))
    folder = run({**broken, "resume": True})
    for table_name in ("clusters.csv", "clients.csv", "participation.csv"):
        assert (whole / table_name).read_text() == (folder / table_name).read_text()
    one, two = adapters(whole), adapters(folder)
    assert one.keys() == two.keys()
    for cluster in one:
        for key, value in one[cluster].items():
            np.testing.assert_array_equal(value, two[cluster][key], err_msg=key)
    assert (whole / "clusters.json").exists() == ("ifca" not in name)
