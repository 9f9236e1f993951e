"""Intervals, paired tests, the words, the table and the page of a comparison."""

from __future__ import annotations

import csv
import html
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from compared_runs import finished
from scipy import stats

from app.compare.cells import plan_cells
from app.compare.comparison import HEADLINE, Comparison, findings, make_comparison
from app.compare.contestants import parse_contestants
from app.compare.meaning import meanings
from app.compare.outcomes import Outcome, read_outcomes
from app.compare.page import build_page
from app.compare.statistics import compare_pairs, interval
from app.compare.tables import comparison_csv, comparison_json, runs_csv
from app.compare.writer import write_comparison

RUNS = {
    # Accuracies of four clients with seeds 42, 43, 44.
    "fedavg": [[0.7, 0.8, 0.9, 1.0], [0.71, 0.8, 0.9, 1.0], [0.7, 0.81, 0.9, 1.0]],
    "fedstale": [[0.7, 0.8, 0.91, 1.0], [0.7, 0.8, 0.9, 1.0], [0.7, 0.8, 0.9, 1.0]],
    "local": [[0.8, 0.5, 0.5, 0.5], [0.8, 0.5, 0.5, 0.51], [0.8, 0.5, 0.5, 0.5]],
}


@pytest.fixture
def comparison(tmp_path: Path) -> Comparison:
    cells = plan_cells("digits", {}, parse_contestants("fedavg, fedstale"), {}, 3, tmp_path)
    for cell in cells:
        finished(cell, RUNS[cell.method][cell.seed - 42])
    scenario = {"dataset": "digits", "partition": "dirichlet"}
    told = meanings(cells)
    return make_comparison("digits", read_outcomes(cells), (), scenario, meanings=told)


def test_an_interval_is_students() -> None:
    values = [0.5, 0.6, 0.8]
    low, high = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    found = interval(values)
    assert found.mean - (found.half or 0) == pytest.approx(low, abs=1e-12)
    assert found.mean + (found.half or 0) == pytest.approx(high, abs=1e-12)
    assert interval([0.5]).half is None


def test_rows_are_ranked_and_gains_are_over_the_same_client_alone(comparison: Comparison) -> None:
    assert [row.method for row in comparison.rows] == ["fedavg", "fedstale", "local"]
    scores = comparison.rows[0].scores
    # Client 0 is better alone by 0.1, 0.09, 0.1; the others gain 0.3, 0.4 and 0.5 or so.
    assert scores["gain_over_local"].mean == pytest.approx((1.1 + 1.1 + 1.11) / 12, abs=1e-12)
    assert scores["clients_that_gain"].mean == 0.75
    assert scores["bytes"].mean == 4000.0
    assert "gain_over_local" not in comparison.rows[2].scores


def test_the_target_is_what_all_but_local_reach(comparison: Comparison) -> None:
    assert comparison.target == pytest.approx(0.85)
    assert comparison.rows[0].scores["bytes_to_target"].mean == 4000.0
    assert "bytes_to_target" not in comparison.rows[2].scores


def test_pairs_are_tested_within_seeds_and_adjusted_by_holm(comparison: Comparison) -> None:
    pairs = {(pair.one, pair.other): pair for pair in comparison.pairs}
    means = {m: [float(np.mean(run)) for run in runs] for m, runs in RUNS.items()}
    raw = {
        names: float(stats.ttest_rel(means[names[0]], means[names[1]]).pvalue) for names in pairs
    }
    smallest, middle, largest = sorted(raw.values())
    adjusted = {smallest: 3 * smallest, middle: max(3 * smallest, 2 * middle)}
    adjusted[largest] = max(adjusted[middle], largest)
    for names, pair in pairs.items():
        assert pair.p_value == pytest.approx(adjusted[raw[names]], rel=1e-9)
    assert not pairs["fedavg", "fedstale"].distinguishable
    assert pairs["fedavg", "local"].distinguishable
    assert pairs["fedavg", "local"].clients_better == 0.75


def test_equal_runs_are_not_distinguishable() -> None:
    same = [Outcome(m, s, {"x": 0.5}, {"a": 0.5}, ()) for m in "pq" for s in (1, 2)]
    (pair,) = compare_pairs(same, "x")
    assert (pair.p_value, pair.clients_p_value, pair.distinguishable) == (1.0, 1.0, False)
    assert pair.same
    told = replace(same[0], clients={"a": 0.4})
    assert not compare_pairs([told, *same[1:]], "x")[0].same


@pytest.mark.parametrize(("seeds", "p_value"), [(2, 0.5), (3, 0.25), (6, 0.03125)])
def test_seeds_that_agree_but_for_rounding_are_counted_as_signs(seeds: int, p_value: float) -> None:
    """The least p-value that signs can have; two seeds of 36 test rows agree easily."""
    first = [k / 36 for k in range(seeds)]
    runs = {"p": first, "q": [value + 0.1 for value in first]}
    assert np.ptp(np.subtract(runs["q"], runs["p"])) != 0.0
    told = [Outcome(m, s, {"x": v}, {}, ()) for m, own in runs.items() for s, v in enumerate(own)]
    (pair,) = compare_pairs(told, "x")
    assert (pair.p_value, pair.distinguishable) == (p_value, p_value < 0.05)


def test_the_words_say_what_cannot_be_told_apart(comparison: Comparison) -> None:
    said = " ".join(findings(comparison))
    assert "fedavg has the largest mean accuracy over clients: 85.2 %" in said
    assert "Not distinguishable from fedavg: fedstale." in said
    assert "Behind it beyond chance: local" in said
    assert "Distinguishable means p < 0.05" in said


def test_where_nothing_is_told_apart_one_sentence_says_so() -> None:
    scores = {"p": 0.5, "q": 0.5, "r": 0.6}
    told = [
        Outcome(m, s, {HEADLINE: v + s / 10}, {"a": v + s / 10}, ())
        for m, v in scores.items()
        for s in (1, 2)
    ]
    said = findings(make_comparison("x", told, [], {}))
    assert said[1] == "No two of these methods can be distinguished."
    assert "p and q gave every client the same accuracy: here they do the same." in said
    assert not any("each other" in line for line in said)


def test_one_seed_tells_nothing_apart(tmp_path: Path) -> None:
    cells = plan_cells("digits", {}, parse_contestants("fedavg"), {}, 1, tmp_path)
    finished(cells[0], [0.4, 0.4, 0.9])
    finished(cells[1], [0.5, 0.5, 0.5])
    said = " ".join(findings(make_comparison("digits", read_outcomes(cells), (), {})))
    assert "With one seed no two methods can be told apart" in said
    assert "Fewer than half of the clients fare better than alone with: fedavg (33 %)" in said


def test_tables_hold_every_number(comparison: Comparison) -> None:
    rows = list(csv.DictReader(io.StringIO(comparison_csv(comparison))))
    assert [row["method"] for row in rows] == ["fedavg", "fedstale", "local"]
    assert float(rows[0]["client_accuracy_mean"]) == pytest.approx(
        np.mean([np.mean(run) for run in RUNS["fedavg"]])
    )
    assert len(list(csv.DictReader(io.StringIO(runs_csv(comparison))))) == 9
    value = json.loads(comparison_json(comparison))
    assert value["pairs"][0]["one"] == "fedavg"
    assert value["seeds"] == [42, 43, 44]


def test_everything_is_written(comparison: Comparison, tmp_path: Path) -> None:
    page = write_comparison(comparison, tmp_path / "out").read_text()
    names = {path.name for path in (tmp_path / "out" / "plots").iterdir()}
    assert {"curves.pdf", "curves.svg", "clients.png", "differences.pdf"} <= names
    assert "Not distinguishable from fedavg: fedstale." in page
    assert "85.2 % ± " in page
    assert "runs.csv" in page


def test_the_page_can_be_read_cold(comparison: Comparison) -> None:
    page = build_page(comparison, [])
    assert "Data: digits, over 4 clients (partition dirichlet)." in page
    assert page.count("Rodio and Neglia, ECAI 2024") == 1
    assert all(html.escape(one.about) in page for one in comparison.meanings)
    assert "<strong>85.2 % ± " in page
    assert "<strong>4.0 kB" not in page  # all moved the same


def test_a_comparison_of_nothing_finished_is_still_a_page(tmp_path: Path) -> None:
    empty = make_comparison("digits", [], ["fedavg, seed 42"], {})
    page = write_comparison(empty, tmp_path).read_text()
    assert "No run is finished yet." in page
    assert "fedavg, seed 42" in page
