"""The accuracy-fairness frontier: cases with known answers, the optimum's conditions, the slips."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from scipy.optimize import minimize

from models.errors import BouquetError
from models.fairness.frontier import Frontier
from models.fairness.information import conditional_information, mutual_information

pytest.importorskip("cvxpy")


def perfect(*cells: tuple[int, int]) -> np.ndarray:
    """One client; each cell is a group's (negatives, positives), and the model is always right."""
    counts = np.zeros((1, len(cells), 2, 2), dtype=np.int64)
    for z, (negatives, positives) in enumerate(cells):
        counts[0, z] = [[negatives, 0], [0, positives]]
    return counts


def test_without_limits_everything_can_be_right() -> None:
    assert Frontier(perfect((30, 10), (10, 30))).point(None, None).accuracy == pytest.approx(1.0)


def test_equal_rates_in_groups_that_differ_cost_what_they_must() -> None:
    """Rates 1/4 and 3/4 in equal groups: at any common rate a quarter is wrong."""
    found = Frontier(perfect((30, 10), (10, 30))).point(0.0, None)
    assert found.accuracy == pytest.approx(0.75, abs=1e-4)


def test_groups_alike_lose_nothing() -> None:
    found = Frontier(perfect((20, 20), (20, 20))).point(0.0, 0.0)
    assert found.accuracy == pytest.approx(1.0, abs=1e-5)


def test_with_one_client_global_and_local_limits_are_one() -> None:
    frontier = Frontier(perfect((30, 10), (10, 30)))
    for limit in (0.01, 0.1):
        both = [frontier.point(limit, None).accuracy, frontier.point(None, limit).accuracy]
        assert both[0] == pytest.approx(both[1], abs=1e-6)
        assert 0.75 < both[0] < 1.0


def test_redundant_disparity_leaves_local_fairness_free() -> None:
    """Each client has one group: inside it there is no disparity, whatever the model says."""
    counts = np.zeros((2, 2, 2, 2), dtype=np.int64)
    counts[0, 0] = [[30, 0], [0, 10]]
    counts[1, 1] = [[10, 0], [0, 30]]
    frontier = Frontier(counts)
    assert frontier.point(None, 0.0).accuracy == pytest.approx(1.0, abs=1e-5)
    assert frontier.point(0.0, None).accuracy == pytest.approx(0.75, abs=1e-4)


def random_counts(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(3, 60, (2, 2, 2, 2))


def test_curves_rise_and_derived_classifiers_stay_below() -> None:
    limits = [0.0, 1e-9, 1e-6, 1e-4, 0.002, 0.01, 0.05, 0.3]
    counts = random_counts(1)
    for kind in ("global", "local", "both"):
        free, derived = (Frontier(counts, derived=d).curve(limits, kind) for d in (False, True))
        for curve in (free, derived):
            assert (np.diff([p.accuracy for p in curve]) >= -1e-6).all()
        assert all(d.accuracy <= f.accuracy + 1e-6 for d, f in zip(derived, free, strict=True))


def test_nothing_beats_the_model_among_what_is_derived_from_a_good_one() -> None:
    counts = np.zeros((1, 2, 2, 2), dtype=np.int64)
    counts[0, 0] = [[40, 10], [5, 20]]
    counts[0, 1] = [[30, 10], [10, 40]]
    found = Frontier(counts, derived=True).point(None, None).accuracy
    assert found == pytest.approx((40 + 20 + 30 + 40) / counts.sum(), abs=1e-6)


@pytest.mark.parametrize("seed", range(2))
def test_a_general_optimiser_finds_nothing_better(seed: int) -> None:
    counts = random_counts(seed)
    share = counts.sum(axis=3) / counts.sum()
    limit = 0.01

    def joint(x: np.ndarray) -> np.ndarray:
        yes = (share * x.reshape(2, 2, 2)).sum(axis=2)
        return np.stack([share.sum(axis=2) - yes, yes], axis=2).transpose(1, 0, 2)

    def wrong(x: np.ndarray) -> float:
        rates = x.reshape(2, 2, 2)
        return float((share[..., 0] * rates[..., 0] + share[..., 1] * (1 - rates[..., 1])).sum())

    rules = [
        {"type": "ineq", "fun": lambda x: limit - mutual_information(joint(x).sum(axis=1))},
        {"type": "ineq", "fun": lambda x: limit - conditional_information(joint(x))},
    ]
    start = np.full(8, 0.5)  # the same answer for all: feasible
    theirs = minimize(wrong, start, method="SLSQP", bounds=[(1e-6, 1 - 1e-6)] * 8,
                      constraints=rules, options={"maxiter": 500, "ftol": 1e-12})  # fmt: skip
    ours = Frontier(counts).point(limit, limit).accuracy
    assert ours == pytest.approx(1 - theirs.fun, abs=5e-4)


def test_derived_rates_are_the_corrected_inequalities() -> None:
    """Along the lower edge from the origin tpr >= (tpr_1 / fpr_1) fpr, not tpr >= fpr.

    The lower corner is the mirror image (1 - fpr, 1 - tpr) of the model's point (0.1, 0.6).
    """
    rng = np.random.default_rng(0)
    fpr_1, tpr_1 = 0.9, 0.4
    inside = rng.random((2000, 2))
    a, b = rng.random((2, 2000))
    derived = np.stack([a * 0.1 + b * 0.9, a * 0.6 + b * 0.4], axis=1)
    for points in (derived, inside):
        fpr, tpr = points.T
        corrected = (
            (tpr <= 0.6 / 0.1 * fpr + 1e-12)
            & (tpr >= tpr_1 / fpr_1 * fpr - 1e-12)
            & (tpr <= tpr_1 / fpr_1 * (fpr - 1) + 1 + 1e-12)
            & (tpr >= 0.6 / 0.1 * (fpr - 1) + 1 - 1e-12)
        )
        solved = np.linalg.solve([[0.1, 0.9], [0.6, 0.4]], points.T)
        reachable = ((solved >= -1e-9) & (solved <= 1 + 1e-9)).all(axis=0)
        np.testing.assert_array_equal(corrected, reachable)
    assert (derived[:, 1] < derived[:, 0]).any()  # which the slip would forbid


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cvxpy", None)
    with pytest.raises(BouquetError, match=r"pip install 'fedbouquet\[fairness\]'"):
        Frontier(perfect((1, 1)))
