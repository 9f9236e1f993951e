"""Whole runs in which clients' data drift, in this process."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from local_runs import Config, Killed, kill_at, rounds, run, small

from app.client_app import app
from app.report.plots.curves import learning_figure
from app.report.reading import read_run
from app.report.wording import data_in_words
from app.server.job import run_job
from fedbouquet.testing import LocalGrid
from models.errors import ConfigurationError

pytestmark = pytest.mark.usefixtures("no_pictures")


@pytest.fixture
def base(tmp_path: Path, vit_folder: Path) -> Config:
    return small(tmp_path, vit_folder) | {
        "drift": "label-cycle",
        "drift-args": "every=2, by=5",
        "num-server-rounds": 5,
        "state-dir": str(tmp_path / "state"),
    }


def truth(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "drift.csv").open()))


def test_each_round_trains_and_evaluates_on_its_own_slot(base: Config) -> None:
    """With labels y, y + 5, y + 10 = y the first and the third slot are the same."""
    still = {**base, "local-steps": 0, "learning-rate": 1e-12, "baselines": "global"}
    folder = run(still)
    everybody, pooled = rounds(folder), rounds(folder / "baselines" / "global")
    for lines, score in ((everybody, "client_loss_mean"), (everybody, "train_loss"),
                         (pooled, "train_loss")):  # fmt: skip
        found = [line[score] for line in lines][1:]
        assert found == pytest.approx([found[0], found[0], found[2], found[2], found[0]], abs=1e-5)
        assert abs(found[0] - found[2]) > 1e-4
    assert everybody[0]["client_loss_mean"] == pytest.approx(everybody[1]["client_loss_mean"])
    table = [
        (row["slot"], row["first_round"], row["concept"], row["drift"]) for row in truth(folder)
    ]
    assert table == [
        *[("0", "1", "0", "none")] * 4,
        *[("1", "3", "5", "real")] * 4,
        *[("2", "5", "0", "real")] * 4,
    ]
    record = read_run(folder)
    assert record.drifts == {3: "real", 5: "real"}
    assert "They drift over the rounds: label-cycle (every=2, by=5)." in data_in_words(record)
    panel = learning_figure(record).axes[0]
    assert [text.get_text() for text in panel.texts].count("real drift") == 2


def test_a_run_resumed_across_a_change_is_the_same(base: Config) -> None:
    whole = rounds(run({**base, "run-name": "whole"}))
    with pytest.raises(Killed):
        run({**base, "run-name": "torn"}, kill_at(6))
    resumed = rounds(run({**base, "run-name": "torn", "resume": True}))
    for one, other in zip(whole, resumed, strict=True):
        assert {**one, "seconds": 0} == {**other, "seconds": 0}


def test_nodes_with_data_of_their_own_drift_as_the_record_says(
    base: Config, tmp_path: Path
) -> None:
    from PIL import Image

    places = []
    for number, site in enumerate(("north", "south", "west")):
        for row in range(40):
            folder = tmp_path / site / str(row % 10)
            folder.mkdir(parents=True, exist_ok=True)
            Image.new("L", (28, 28), 6 * row + number).save(folder / f"{row}.png")
        places.append({"client-id": site, "data-path": str(tmp_path / site)})
    one = {
        **base,
        "drift-args": "every=2, by=5, slots=2, groups=4",
        "learning-rate": 1e-12,
        "num-server-rounds": 3,
        "test-fraction": 0.25,
    }
    folder = run_job(LocalGrid(app, places, one), one)
    table = truth(folder)
    assert [row["client"] for row in table] == ["north", "south", "west"] * 2
    assert {row["drift"] for row in table[3:]} == {"real"}
    losses = [line["train_loss"] for line in rounds(folder)][1:]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)
    assert abs(losses[1] - losses[2]) > 1e-5


def test_what_does_not_go_together_is_refused(base: Config) -> None:
    shift = {**base, "partition-args": "shift=rotation"}
    with pytest.raises(ConfigurationError, match="partition-args has a shift too"):
        run(shift)
    with pytest.raises(ConfigurationError, match="'evry' is no argument of 'label-cycle'"):
        run({**base, "drift-args": "evry=2"})
