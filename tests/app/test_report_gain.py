"""What each client gains over the shared model and the baselines: numbers, picture, table, file."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from report_runs import metrics_line, minimal_run, write_lines

from app.report import write_report
from app.report.gain_columns import add_gains
from app.report.gains import comparisons
from app.report.plots.gain import gain_figure, gain_words
from app.report.reading import read_run

OWN = {"a": "0.5", "b": "0.75", "c": "1.0", "d": "", "e": "0.25"}
SHARED = {"a": "0.25", "b": "0.75", "c": "", "d": "0.5", "e": "0.5"}
ALONE = {"a": "0.0", "b": "1.0", "c": "0.5", "d": "0.5"}


def write(path: Path, scores: dict[str, str], shared: dict[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["client", "accuracy_before", "accuracy_after", "accuracy_shared"])
        table.writerows([c, "0.5", score, shared.get(c, "")] for c, score in scores.items())


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = minimal_run(tmp_path / "run")
    last = metrics_line(
        1, client_accuracy_mean=0.625, client_accuracy_shared_mean=0.5,
        client_accuracy_before_aggregation_mean=0.6875,
    )  # fmt: skip
    write_lines(folder / "metrics.jsonl", [metrics_line(0, client_accuracy_mean=0.5), last])
    write(folder / "clients.csv", OWN, SHARED)
    write(folder / "baselines" / "local" / "clients.csv", ALONE, {})
    write_lines(folder / "baselines" / "local" / "metrics.jsonl", [metrics_line(0)])
    return folder


def test_gains_are_over_clients_known_on_both_sides(run: Path) -> None:
    shared, alone = comparisons(read_run(run))
    assert (shared.words, alone.words) == ("the shared model", "each client alone")
    assert shared.gains == {"a": 0.25, "b": 0.0, "e": -0.25}
    assert shared.mean_gain == 0.0
    assert alone.gains == {"a": 0.5, "b": -0.25, "c": 0.5}
    assert alone.mean_gain == 0.25


def test_a_point_a_client_above_or_below_the_diagonal(run: Path) -> None:
    record = read_run(run)
    figure = gain_figure(record)
    assert figure is not None
    shared, alone = figure.axes
    better, worse, alike = (c.get_offsets() for c in shared.collections)
    np.testing.assert_array_equal(better, [[0.25, 0.5]])
    np.testing.assert_array_equal(worse, [[0.5, 0.25]])
    np.testing.assert_array_equal(alike, [[0.75, 0.75]])
    assert alone.get_title(loc="left") == "Over each client alone: +25.0 pp"
    (diagonal,) = alone.lines
    assert list(diagonal.get_xdata()) == list(diagonal.get_ydata())
    assert "over each client alone +25.0 pp in the mean of 3 clients" in gain_words(record)[0]


def test_the_page_shows_the_picture_and_each_clients_gains(run: Path) -> None:
    page = write_report(run).read_text()
    assert (run / "plots" / "gain.png").stat().st_size > 5000
    scores = ("Clients: mean with the shared model", "Clients: mean before aggregation")
    for text in ("Over shared", "Over alone", "+50.0 pp", "Personalisation", *scores):
        assert text in page, text


def test_without_anything_to_compare_with_there_is_no_picture(tmp_path: Path) -> None:
    folder = minimal_run(tmp_path / "run")
    assert gain_figure(read_run(folder)) is None
    page = write_report(folder).read_text()
    assert not (folder / "plots" / "gain.png").exists()
    assert "Personalisation" not in page


def test_gains_are_columns_of_the_clients_file(run: Path) -> None:
    before = (run / "clients.csv").read_text()
    add_gains(run, [])
    assert (run / "clients.csv").read_text() == before
    for _ in range(2):  # a run continued for more rounds adds them again
        add_gains(run, ["local"])
        with (run / "clients.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert [row["gain_over_local"] for row in rows] == ["0.5", "-0.25", "0.5", "", ""]
        assert list(rows[0])[-1] == "gain_over_local"
    assert {row["client"]: row["accuracy_after"] for row in rows} == OWN
