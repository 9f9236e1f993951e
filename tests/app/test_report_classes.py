"""Accuracy by label and client, and the bytes of averaging the whole adapter, in the report."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from report_runs import full_run

from app.report import write_report
from app.report.plots.labels.accuracy import class_figure, class_words
from app.report.reading import read_run
from app.report.scores import fedavg_bytes

COUNTS = {"a": {"cat": (3, 4)}, "b": {"cat": (0, 2), "dog": (5, 5)}}


def test_the_picture_has_a_cell_for_each_label_that_a_client_was_tested_on() -> None:
    figure = class_figure(COUNTS, ["cat", "dog"])
    assert figure is not None
    heat, means = figure.axes
    drawn = np.ma.filled(heat.images[0].get_array(), np.nan)
    np.testing.assert_array_equal(drawn, [[0.75, np.nan], [0.0, 1.0]])
    assert {"0", "75", "100"} <= {text.get_text() for text in heat.texts}
    assert [bar.get_width() for bar in means.patches] == [0.75, 0.5]
    told, _ = class_words(COUNTS)
    assert told.endswith("2 clients; 1 of 3 cells at 0 %")


def test_many_clients_are_drawn_and_nobody_is_no_picture() -> None:
    many = {f"c{n}": {"cat": (n % 3, 3)} for n in range(60)}
    assert class_figure(many, ["cat", "dog"]) is not None
    assert class_figure({}, ["cat"]) is None
    assert class_figure(COUNTS, []) is None


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = full_run(tmp_path / "run", clients=4, rounds=3)
    clients = {"client-0000": {"0": [3, 4], "9": [0, 1]}, "x": {"10": [1, 1], "a": [1, 1], "1": 3}}
    (folder / "classes.json").write_text(json.dumps({"round": 3, "clients": clients}))
    return folder


def test_what_clients_told_of_labels_is_in_the_page(folder: Path) -> None:
    assert read_run(folder).classes == {"client-0000": {"0": (3, 4), "9": (0, 1)}}
    assert 'id="classes"' in write_report(folder).read_text()
    assert (folder / "plots" / "classes.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (353_680, "FedAvg of the same adapter would have moved 8.49 MB, 10.0 times as much."),
        (17_684, "FedAvg of the same adapter would have moved 424 kB, 50 % of it."),
    ],
)
def test_bytes_are_compared_with_averaging_the_whole_adapter(
    folder: Path, size: int, words: str
) -> None:
    (folder / "models.json").write_text(json.dumps({"adapter_bytes": size}))
    # Four clients answered in three rounds; each way once.
    assert fedavg_bytes(read_run(folder)) == 2 * size * 4 * 3
    page = write_report(folder).read_text()
    assert words in page
    assert f"{35_368 / size:.1%}".replace("%", " %") in page


def test_a_run_that_averages_the_whole_adapter_is_not_compared_with_itself(folder: Path) -> None:
    assert fedavg_bytes(read_run(folder)) is None
    (folder / "models.json").write_text(json.dumps({"adapter_bytes": 35_368}))
    assert "the same adapter would have moved" not in write_report(folder).read_text()
