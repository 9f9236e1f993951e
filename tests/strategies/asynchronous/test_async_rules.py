"""Staleness weights, weights that keep the optimum, and arrival groups: exact numbers."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies.aggregation.asynchronous.groups import ArrivalGroups
from strategies.aggregation.asynchronous.staleness import staleness_weight
from strategies.aggregation.asynchronous.unbiased import asynchronous_weight, interval_weight


@pytest.mark.parametrize(
    ("kind", "u", "a", "b", "expected"),
    [
        ("constant", 7, 0, 0, 1.0),
        ("polynomial", 3, 0.5, 0, 0.5),
        ("polynomial", 3, 0, 0, 0.5),
        ("polynomial", 1, 2, 0, 0.25),
        ("hinge", 4, 10, 4, 1.0),
        ("hinge", 6, 10, 4, 1 / 21),
        ("hinge", 6, 0, 4, 1 / 21),
        ("hinge", 5, 1, 3, 1 / 3),
    ],
)
def test_staleness_weights(kind: str, u: int, a: float, b: float, expected: float) -> None:
    assert staleness_weight(kind, u, a, b) == pytest.approx(expected, abs=1e-15)


@given(
    st.sampled_from(["constant", "polynomial", "hinge"]),
    st.integers(0, 500),
    st.floats(0.01, 20),
    st.floats(0, 20),
)
def test_older_updates_never_count_more(kind: str, u: int, a: float, b: float) -> None:
    weight, older = (staleness_weight(kind, age, a, b) for age in (u, u + 1))
    assert 0 < older <= weight <= 1
    assert staleness_weight(kind, 0, a, b) == 1


def test_nothing_is_of_the_future() -> None:
    with pytest.raises(ValueError, match="-1 aggregations old"):
        staleness_weight("polynomial", -1)


def test_weights_that_keep_the_optimum() -> None:
    assert [interval_weight(tau, 0.5, 0.25) for tau in (0.4, 0.5, 0.6, 1.2)] == [
        0.25,
        0.25,
        0.5,
        0.75,
    ]
    # Whole intervals in spite of rounding, and never none.
    assert [interval_weight(tau, 0.1, 1.0) for tau in (1.1, 0.3, 1e-12)] == [11.0, 3.0, 1.0]
    rate = 1 / 1 + 1 / 2 + 1 / 4
    weights = [asynchronous_weight(tau, rate, p) for tau, p in ((1, 0.5), (2, 0.3), (4, 0.2))]
    assert weights == pytest.approx([0.875, 1.05, 1.4])
    assert asynchronous_weight(4, rate, 0.2, c=2) == pytest.approx(0.7)


@given(st.lists(st.tuples(st.floats(0.1, 9), st.floats(0.05, 1)), min_size=2, max_size=8))
def test_everybody_moves_the_model_by_its_importance(clients: list[tuple[float, float]]) -> None:
    """Times the rate at which a client comes, its weight is its importance."""
    rate = math.fsum(1 / tau for tau, _ in clients)
    for tau, p in clients:
        arrivals = 1 / tau / rate  # of one aggregation
        assert asynchronous_weight(tau, rate, p) * arrivals == pytest.approx(p)
        assert interval_weight(tau, 0.3, p) / math.ceil(tau / 0.3) == pytest.approx(p)


def known(speeds: dict[str, float], q_min: int = 20, q_max: int = 100) -> ArrivalGroups:
    groups = ArrivalGroups(q_min, q_max, 1.5)
    groups.speeds |= speeds
    return groups


def test_a_client_joins_the_group_that_gives_it_most_steps() -> None:
    groups = known({"a": 1.0, "b": 2.0, "c": 8.0})
    assert groups.assign("a", 0) == 100  # nobody is there: Q_max, expected at 100, latest at 150
    assert groups.assign("b", 10) == 45  # (100 - 10) / 2
    # (100 - 10) / 8 = 11 are too few; a group of its own, for when those who start at 150 are back:
    # (150 + 100 * 1 - 10) / 8 = 30, expected at 250
    assert groups.assign("c", 10) == 30
    assert [sorted(g.out) for g in groups.groups.values()] == [["a", "b"], ["c"]]
    assert [(g.expected, g.latest) for g in groups.groups.values()] == [(100, 150), (250, 370)]
    # Of (100 - 40) / 2 = 30 and (250 - 40) / 2 = 105 only the first is within [20, 100].
    groups.speeds["d"] = 2.0
    assert groups.assign("d", 40) == 30
    # Of (100 - 60) / 2 = 20 and (250 - 60) / 2 = 95 the larger.
    groups.speeds["e"] = 2.0
    assert groups.assign("e", 60) == 95


def test_steps_of_a_new_group_stay_within_bounds() -> None:
    groups = known({"a": 1.0, "slow": 50.0, "fast": 0.5})
    groups.assign("a", 0)
    assert groups.assign("slow", 0) == 20  # (150 + 100) / 50 = 5
    groups = known({"a": 1.0, "fast": 0.5})
    groups.assign("a", 0)
    assert groups.assign("fast", 0) == 100  # joining: 200; creating: 500, which is above Q_max


def test_a_group_is_due_when_all_are_there_or_at_its_latest_second() -> None:
    groups = known({"a": 1.0, "b": 2.0})
    groups.assign("a", 0)
    groups.assign("b", 0)
    groups.assign("new", 0)
    assert groups.due(["new"], 5) == ["new"]  # of unknown speed: by itself
    assert groups.due(["a"], 100) == []
    assert groups.latest(["a"]) == 150
    assert groups.latest(["new"]) == math.inf
    assert groups.due(["b", "a"], 101) == ["b", "a"]
    assert groups.due(["a"], 150) == ["a"]
    groups.aggregated(["a"])
    assert groups.groups == {}
    assert groups.due(["b"], 151) == ["b"]  # late


def test_speeds_are_mostly_the_last_one() -> None:
    groups = known({"a": 1.0})
    groups.assign("a", 0)
    groups.timed("a", 200.0)
    assert groups.speeds["a"] == pytest.approx(0.9 * 2 + 0.1 * 1)
    groups.assign("b", 0)
    groups.timed("b", 50.0)
    assert groups.speeds["b"] == 0.5
    groups.timed("nobody", 3.0)
    assert set(groups.speeds) == {"a", "b"}


def test_who_is_lost_is_not_waited_for_once_it_is_asked_again() -> None:
    groups = known({"a": 1.0, "b": 2.0})
    groups.assign("a", 0)
    groups.assign("b", 0)
    groups.assign("b", 99)  # 0.5 steps fit: a group of its own
    assert groups.due(["a"], 100) == ["a"]
    groups.forget("b")
    assert "b" not in groups.speeds
    assert len(groups.groups) == 1


def test_groups_read_back_what_they_wrote() -> None:
    groups = known({"a": 0.1, "b": 0.3})
    for client in ("a", "b", "c"):
        groups.assign(client, 0.7)
    other = ArrivalGroups(20, 100, 1.5)
    other.read(groups.to_json())
    assert other.to_json() == groups.to_json()
    assert other.assign("a", 3) == groups.assign("a", 3)
