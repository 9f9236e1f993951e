"""Fairness figures: fairlearn's on the pooled predictions, exact numbers, small groups."""

from __future__ import annotations

import numpy as np
import pytest
from fairlearn.metrics import (
    demographic_parity_difference,
    equal_opportunity_difference,
    equalized_odds_difference,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from models.fairness.counts import Cell, GroupCounts, Histogram
from models.fairness.metrics import (
    auc,
    auc_bound,
    disparities,
    equity_scaled,
    group_figures,
    rates,
)


def cell(tp: int, fn: int, fp: int, tn: int) -> Cell:
    return Cell(
        tp + fn + fp + tn,
        np.array([fp + tn, tp + fn]),
        np.array([tn + fn, tp + fp]),
        np.array([tn, tp]),
    )


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 8), st.integers(2, 4))
def test_fairlearn_on_the_pooled_predictions(seed: int, clients: int, groups: int) -> None:
    generator = np.random.default_rng(seed)
    count = 300 * groups
    group = generator.choice([f"g{k}" for k in range(groups)], count)
    targets = generator.integers(2, size=count)
    said = np.where(generator.random(count) < 0.3 + 0.1 * (group == "g0"), 1 - targets, targets)
    owner = generator.integers(clients, size=count)
    parts = [
        GroupCounts.of({"g": group[owner == k].tolist()}, targets[owner == k], said[owner == k], 2)
        for k in range(clients)
    ]
    whole = GroupCounts.sum(part for part in parts if part.cells)
    assert whole is not None
    found = disparities(whole.by(["g"]))
    pooled = {"y_true": targets, "y_pred": said, "sensitive_features": group}
    close = pytest.approx
    assert found["demographic_parity_difference"] == close(
        demographic_parity_difference(**pooled), abs=1e-12
    )
    assert found["equal_opportunity_difference"] == close(
        equal_opportunity_difference(**pooled), abs=1e-12
    )
    assert found["equalized_odds_difference"] == close(
        equalized_odds_difference(**pooled), abs=1e-12
    )
    assert found["equalized_odds_difference_mean"] == close(
        equalized_odds_difference(**pooled, agg="mean"), abs=1e-12
    )


def test_more_classes_are_each_against_the_rest() -> None:
    generator = np.random.default_rng(3)
    group = generator.choice(["a", "b"], 900)
    targets, said = generator.integers(4, size=900), generator.integers(4, size=900)
    counts = GroupCounts.of({"g": group.tolist()}, targets, said, 4)
    found = disparities(counts.by(["g"]))
    each = [
        (
            demographic_parity_difference(targets == c, said == c, sensitive_features=group),
            equalized_odds_difference(targets == c, said == c, sensitive_features=group),
        )
        for c in range(4)
    ]
    assert found["demographic_parity_difference"] == pytest.approx(max(d for d, _ in each))
    assert found["equalized_odds_difference"] == pytest.approx(max(e for _, e in each))
    assert found["auc"] is None
    assert "auc" not in group_figures(counts.by(["g"])["a",])


@pytest.mark.parametrize(
    ("shift", "spread"),
    [(0.0, 1.0), (0.13, 0.004), (8.0, 2.0), (-3.0, 0.05), (0.0, 1e-6), (-1.1, 0.001)],
)
def test_histogram_auc_is_within_a_thousandth(shift: float, spread: float) -> None:
    generator = np.random.default_rng(1)
    positive = generator.random(4000) < 0.3
    margins = (shift + spread * (generator.normal(size=4000) + positive)).astype(np.float32)
    histogram = Histogram.of(margins, positive)
    found = auc(histogram)
    exact = roc_auc_score(positive, margins)
    assert found == pytest.approx(exact, abs=1e-3)
    assert abs(found - exact) <= auc_bound(histogram) + 1e-12


def test_auc_counts_ties_half_and_is_none_with_one_class() -> None:
    scores = Histogram(np.array([-5, 0, 7]), np.array([[2, 1], [1, 1], [1, 2]]))
    # 16 pairs: 1/2*2 below, then 1 at 0 beats 2 and ties 1, then 2 at 7 beat 3 and tie 1 each
    assert auc(scores) == pytest.approx((1 * 1.0 + 1 * 2.5 + 2 * 3.5) / 16)
    assert auc_bound(scores) == pytest.approx((2 * 1 + 1 * 1 + 1 * 2) / 32)
    assert auc(Histogram(np.array([0]), np.array([[3, 0]]))) is None


def test_equity_scaled_auc_of_fractions() -> None:
    assert equity_scaled(0.8, [0.9, 0.7]) == pytest.approx(2 / 3)
    assert equity_scaled(0.8, [0.9, None]) is None
    assert equity_scaled(None, [0.9, 0.7]) is None


def test_rates_of_a_group() -> None:
    found = rates(cell(tp=30, fn=10, fp=5, tn=55), 1)
    assert found is not None
    assert (found.tpr, found.fpr, found.selection) == (0.75, 5 / 60, 0.35)
    assert group_figures(cell(tp=30, fn=10, fp=5, tn=55)) == {
        "accuracy": 0.85,
        "examples": 100,
        "positives": 40,
        "auc": None,
        "tpr": 0.75,
        "fpr": 5 / 60,
        "selection_rate": 0.35,
    }


@pytest.mark.parametrize("small", [cell(9, 0, 20, 20), cell(20, 20, 0, 9), cell(0, 0, 30, 30)])
def test_small_groups_are_undefined_never_zero(small: Cell) -> None:
    figures = group_figures(small)
    assert (figures["tpr"], figures["fpr"], figures["auc"], figures["selection_rate"]) == (
        None, None, None, None,
    )  # fmt: skip
    large = cell(30, 10, 5, 55)
    found = disparities({("s",): small, ("l",): large})
    assert found["undefined"] == ["s"]
    assert {key for key, value in found.items() if value is not None} == {
        "undefined",
        "unknown_examples",
    }
    three = disparities({("s",): small, ("l",): large, ("m",): cell(20, 20, 5, 55)})
    assert three["equal_opportunity_difference"] == pytest.approx(0.25)
    assert three["worst_group"] == "m"
    assert three["worst_group_accuracy"] == pytest.approx(0.75)


def test_the_accuracy_of_a_few_examples_is_undefined_too() -> None:
    assert group_figures(cell(0, 5, 4, 0))["accuracy"] is None
    assert group_figures(cell(0, 5, 5, 0))["accuracy"] == 0.0
    assert group_figures(Cell.of_tokens(9, 0, 3.0)) == {
        "accuracy": None,
        "examples": 9,
        "loss": None,
    }


def test_an_unknown_group_is_no_group() -> None:
    groups = {("f",): cell(30, 10, 5, 55), ("m",): cell(20, 20, 5, 55)}
    lost = {**groups, ("unknown",): cell(10, 90, 90, 10)}
    assert disparities(lost) == {**disparities(groups), "unknown_examples": 200}
    assert disparities({("f", "unknown"): lost["unknown",]})["unknown_examples"] == 200


def test_a_single_group_is_compared_with_nobody() -> None:
    found = disparities({("f",): cell(30, 10, 5, 55)})
    assert found["demographic_parity_difference"] is None
    assert found["accuracy_gap"] is None
    assert disparities({})["undefined"] == []
