from __future__ import annotations

import pytest

from strategies.aggregation.clusters.agreement import agreement

TRUTH = {"a": 0, "b": 0, "c": 1, "d": 1, "e": 2}


def test_the_same_groups_under_other_numbers_agree() -> None:
    found = {"a": 7, "b": 7, "c": 0, "d": 0, "e": 3}
    assert agreement(found, TRUTH) == {"cluster_purity": 1.0, "cluster_ari": 1.0}


def test_one_cluster_for_all_is_as_pure_as_the_commonest_concept() -> None:
    found = dict.fromkeys(TRUTH, 0)
    assert agreement(found, TRUTH) == {"cluster_purity": 2 / 5, "cluster_ari": 0.0}


def test_a_client_in_the_wrong_place() -> None:
    found = {"a": 0, "b": 0, "c": 1, "d": 0, "e": 2}
    result = agreement(found, TRUTH)
    assert result["cluster_purity"] == pytest.approx(4 / 5)
    # Pairs together in both 1, in found 3, in truth 2, of 10: (1 - 0.6) / (2.5 - 0.6).
    assert result["cluster_ari"] == pytest.approx((1 - 0.6) / (2.5 - 0.6))


def test_only_those_whose_truth_is_known_count() -> None:
    assert agreement({"a": 0, "x": 0}, TRUTH)["cluster_purity"] == 1.0
    assert agreement({"x": 0}, TRUTH) == {}
