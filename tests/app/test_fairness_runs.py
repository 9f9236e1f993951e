"""Whole runs with groups: figures for every method, from the clients' counts alone."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from local_runs import Config, rounds, run, small

pytestmark = pytest.mark.usefixtures("no_pictures")


@pytest.fixture
def base(tmp_path: Path, vit_folder: Path) -> Config:
    return small(tmp_path, vit_folder) | {
        "num-server-rounds": 2,
        "state-dir": str(tmp_path / "state"),
        "label-column": "parity",
        "group-columns": "ink",
        "local-steps": 3,
        "learning-rate": 0.03,
    }


def test_every_figure_is_in_every_table(base: Config) -> None:
    folder = run(base | {"group-columns": "ink,label"})
    last = rounds(folder)[-1]
    assert set(last["groups"]) == set(last["fairness"]) == {"ink", "label", "ink & label"}
    light = last["groups"]["ink"]["light"]
    assert set(light) == {
        "accuracy", "examples", "positives", "auc", "tpr", "fpr", "selection_rate",
    }  # fmt: skip
    assert all(0 <= light[key] <= 1 for key in ("accuracy", "auc", "tpr", "fpr"))
    ink = last["fairness"]["ink"]
    assert ink["worst_group"] in {"light", "medium", "heavy"}
    assert ink["worst_group_accuracy"] == min(g["accuracy"] for g in last["groups"]["ink"].values())
    assert 0 < ink["es_auc"] <= ink["auc"]
    # A digit is even or odd: by label there is one class in each group.
    assert last["fairness"]["label"]["equalized_odds_difference"] is None
    assert len(last["fairness"]["label"]["undefined"]) == 10
    with (folder / "clients.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert float(rows[0]["worst_group_accuracy/ink"]) <= float(rows[0]["accuracy_after"])
    assert rows[0]["es_auc/label"] == ""
    counts = json.loads((folder / "groups.json").read_text())
    assert counts["round"] == 2
    examples = sum(
        sum(cell["true"]) for part in counts["clients"].values() for cell in part["cells"]
    )
    assert examples == sum(int(row["test_examples"]) for row in rows)
    assert examples == sum(g["examples"] for g in last["groups"]["ink"].values())
