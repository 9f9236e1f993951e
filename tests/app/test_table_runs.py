"""Whole runs on tables: nothing of a client goes into how columns are read."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from local_runs import Config, Killed, kill_at, rounds, run, small
from peft import PeftModel
from transformers import AutoModelForSequenceClassification

from app.client_app import app
from app.server.job import run_job
from fedbouquet.fairlora import accept_groups
from fedbouquet.table import TableEncoding
from fedbouquet.testing import LocalGrid
from models.errors import BouquetError

pytestmark = pytest.mark.usefixtures("no_pictures")

FAIR = {"strategy": "fairlora", "adapter": "fairlora", "adapter-args": "rank=4"}


def people(file: Path, count: int, seed: int, without: str = "") -> Path:
    """Write rows in which hours decide the label, at another bound for each sex."""
    generator = np.random.default_rng(seed)
    hours, sex = generator.integers(0, 60, count), generator.choice(["f", "m"], count)
    rows: dict[str, list[object]] = {
        "hours": hours.tolist(),
        "work": [("" if hour % 7 == 0 else f"w{hour % 3}") for hour in hours],
        "sex": sex.tolist(),
        "label": np.where(hours > np.where(sex == "f", 20, 40), "yes", "no").tolist(),
    }
    rows.pop(without, None)
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="") as stream:
        csv.writer(stream).writerows([rows, *zip(*rows.values(), strict=True)])
    return file


@pytest.fixture
def base(tmp_path: Path) -> Config:
    return small(tmp_path, tmp_path) | {
        "dataset": str(people(tmp_path / "data" / "rows.csv", 400, 0)),
        "model": "tiny-table@width=8,depth=1",
        "public-data": "25%",
        "group-columns": "sex",
        "num-clients": 3,
        "num-server-rounds": 2,
        "learning-rate": 0.02,
    }


def test_fairlora_on_a_table_and_what_it_leaves_behind(
    base: Config, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = run(base | FAIR)
    last = rounds(folder)[-1]
    assert last["rejected"] == []
    assert last["accuracy"] > 0.7
    assert set(last["groups"]["sex"]) == {"f", "m"}
    # The base says what of the public rows it knows; hours are numbers, work is a name.
    encoding = TableEncoding.of(folder / "base")
    assert encoding.names == ("hours", "work")
    assert encoding.columns[1].names == ("w0", "w1", "w2")
    config = json.loads((folder / "adapter" / "adapter_config.json").read_text())
    assert (config["peft_type"], config["task_type"]) == ("FAIRLORA", "SEQ_CLS")
    model = AutoModelForSequenceClassification.from_pretrained(folder / "base")
    found = PeftModel.from_pretrained(model, folder / "adapter").eval()
    accept_groups(found)
    tokens = torch.from_numpy(encoding.tokens({"hours": [30, 30], "work": ["w0", "w0"]}))
    f, m = found(input_ids=tokens, groups=torch.tensor([0, 1])).logits.softmax(-1)[:, 1]
    assert f > m
    card = (folder / "adapter" / "README.md").read_text()
    assert "pipeline_tag: tabular-classification" in card
    monkeypatch.chdir(folder)
    capsys.readouterr()
    exec(card.split("```python\n")[1].split("```")[0], {})
    assert capsys.readouterr().out.strip() in {"no", "yes"}


def test_a_resumed_run_on_a_table_is_the_same_to_the_bit(base: Config) -> None:
    whole = run(base | FAIR)
    with pytest.raises(Killed):
        run(base | FAIR | {"run-name": "cut"}, kill_at(3))
    cut = run(base | FAIR | {"run-name": "cut", "resume": True})
    for name in ("adapter/adapter_model.safetensors", "clients.csv"):
        assert (whole / name).read_bytes() == (cut / name).read_bytes()


Sites = Callable[..., Path]


@pytest.fixture
def sites(tmp_path: Path, base: Config) -> Sites:
    def go(without: dict[str, str], **changes: str) -> Path:
        nodes = [
            {
                "client-id": name,
                "data-path": str(people(tmp_path / name / "rows.csv", 400, 2 + place, column)),
                "state-dir": str(tmp_path / "nodes" / name),
            }
            for place, (name, column) in enumerate(without.items())
        ]
        config = base | {"public-data": str(tmp_path / "data"), "num-server-rounds": 1} | changes
        return run_job(LocalGrid(app, nodes, config), config)

    return go


def test_sites_without_the_group_column_take_part_and_without_an_input_do_not(
    sites: Sites, caplog: pytest.LogCaptureFixture
) -> None:
    folder = sites({"a": "", "b": "sex", "c": "work"}, **FAIR)
    assert "group-columns: 'sex' is unknown at 1 of 3 clients: b" in caplog.text
    assert rounds(folder)[-1]["fairness"]["sex"]["unknown_examples"] == 80
    last = rounds(folder)[-1]
    assert {refused["client"] for refused in last["rejected"]} == {"c"}
    why = "no column 'work', which the base model reads"
    assert all(why in refused["detail"] for refused in last["rejected"])
    with (folder / "clients.csv").open() as stream:
        rows = {row["client"]: row for row in csv.DictReader(stream)}
    assert float(rows["b"]["accuracy_after"]) > 0.4
    assert rows["a"]["es_accuracy/sex"] != "" == rows["b"]["es_accuracy/sex"]
    counts = json.loads((folder / "groups.json").read_text())["clients"]
    assert [cell["values"] for cell in counts["b"]["cells"]] == [["unknown"]]


def test_nodes_with_data_of_their_own_need_public_rows(sites: Sites) -> None:
    with pytest.raises(BouquetError, match="set public-data to the absolute path of such rows"):
        sites({"a": "", "b": ""}, **{"public-data": "10%"})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": "tiny-vit"}, r"tiny-vit' is not for .* table; take model='tiny-table'"),
        ({"dataset": "digits", "group-columns": ""}, r"not for .* image; name a model of images"),
        ({"text-column": "sex", "group-columns": ""}, r"not for .* text; name a text model"),
    ],
)
def test_what_does_not_go_with_a_table(base: Config, changes: Config, words: str) -> None:
    with pytest.raises(BouquetError, match=words):
        run(base | changes)


def test_a_model_of_texts_does_not_read_a_table(base: Config, bert_folder: Path) -> None:
    with pytest.raises(BouquetError, match="is no base for tables"):
        run(base | {"model": str(bert_folder)})
