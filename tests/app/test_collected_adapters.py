"""Every client's own adapter, collected at the end of a run where the node allows it."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from local_runs import Config, run, small
from safetensors.numpy import load_file

from app import packs
from app.registry import registry
from app.run_directory.export import folder_name
from app.server.planning import data_spec
from app.settings import parse_run_config
from clients.data import load_federation
from clients.holdings import prepare
from clients.preparation import make_preparation

pytestmark = pytest.mark.usefixtures("no_pictures")


@pytest.fixture
def config(tmp_path: Path, vit_folder: Path) -> Config:
    return small(tmp_path, vit_folder) | {
        "strategy": "fedper",
        "num-server-rounds": 2,
        "collect-personal": True,
        "state-dir": str(tmp_path / "state"),
    }


def test_peft_alone_gives_each_clients_stated_accuracy(config: Config, vit_folder: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForImageClassification

    folder = run(config)
    rows = list(csv.DictReader((folder / "clients.csv").open()))
    spec = data_spec(parse_run_config(config, registry()))
    federation = load_federation(spec)
    preparation = make_preparation(vit_folder, "image", {})
    assert len(rows) == 4
    for row in rows:
        adapter = folder / "clients" / row["client"] / "adapter"
        torch.manual_seed(0)
        model = AutoModelForImageClassification.from_pretrained(vit_folder)
        model = PeftModel.from_pretrained(model, adapter).eval()
        data = federation.client(row["client"]).test
        test = prepare(data, federation.label_names, preparation)
        with torch.no_grad():
            batch = test.inputs.batch(np.arange(len(test)), torch.device("cpu"))
            right = model(**batch).logits.argmax(-1).numpy() == test.targets
        assert right.mean() == pytest.approx(float(row["accuracy_after"]), abs=1e-6)
    heads = [
        next(v for k, v in load_file(file).items() if "classifier" in k and "weight" in k)
        for file in sorted(folder.glob("clients/*/adapter/*.safetensors"))
    ]
    assert np.abs(heads[0] - heads[1]).max() > 1e-4


def test_a_node_that_does_not_share_keeps_its_adapters(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packs, "shares_personal", lambda node: False)
    folder = run(config)
    assert not (folder / "clients").exists()
    assert (folder / "metrics.jsonl").read_text().count("\n") == 3


def test_it_is_off_unless_asked_for(config: Config) -> None:
    folder = run({**config, "collect-personal": False})
    assert not (folder / "clients").exists()


def test_any_id_makes_a_folder() -> None:
    assert folder_name("client-7") == "client-7"
    assert folder_name("../a b") != folder_name("../a_b")
    assert "/" not in folder_name("../a b")
    assert "." not in folder_name("../a b")
