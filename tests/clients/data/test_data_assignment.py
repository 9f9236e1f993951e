"""Rows to clients: exact sizes and the invariants of every partition."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clients.data.assignment import assign_by_value, assign_rows
from models.errors import DataError

LABELS = np.arange(200) % 4


def sizes(name: str, clients: int, **args: object) -> list[int]:
    return [len(part) for part in assign_rows(name, args, LABELS, clients, 7).values()]


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("iid", {}),
        ("dirichlet", {"alpha": 0.5}),
        ("dirichlet", {"alpha": 0.5, "balanced": True, "min-size": 5}),
        ("pathological", {"classes-per-client": 2}),
        ("shards", {}),
        ("shards", {"shard-size": 7}),
        ("linear", {}),
        ("square", {}),
        ("exponential", {}),
    ],
)
def test_rows_are_used_once_and_the_seed_decides(name: str, args: dict[str, object]) -> None:
    first, again, other = (assign_rows(name, args, LABELS, 4, seed) for seed in (7, 7, 8))
    assert list(first) == ["client-0000", "client-0001", "client-0002", "client-0003"]
    assert sorted(np.concatenate(list(first.values()))) == list(range(200))
    assert all((np.diff(part) > 0).all() for part in first.values())
    assert all((first[client] == again[client]).all() for client in first)
    assert any(first[client].tolist() != other[client].tolist() for client in first)


@settings(max_examples=25, deadline=None)
@given(
    rows=st.integers(20, 60),
    clients=st.integers(1, 6),
    seed=st.integers(0, 2**31),
    name=st.sampled_from(["iid", "dirichlet", "shards", "linear", "pathological"]),
)
def test_parts_are_disjoint_and_never_too_small(
    rows: int, clients: int, seed: int, name: str
) -> None:
    args: dict[str, object] = {"alpha": 5.0} if name == "dirichlet" else {}
    try:
        parts = assign_rows(name, args, np.arange(rows) % 3, clients, seed)
    except DataError:
        return
    every = np.concatenate(list(parts.values()))
    assert len(parts) == clients
    assert len(set(every.tolist())) == len(every)
    assert every.min() >= 0
    assert every.max() < rows
    assert min(len(part) for part in parts.values()) >= 2


def test_sizes() -> None:
    assert sizes("iid", 4) == [50, 50, 50, 50]
    assert sizes("linear", 4) == [20, 40, 60, 80]
    assert sizes("square", 4) == [6, 26, 60, 108]
    assert sizes("exponential", 3) == [18, 48, 134]
    assert sizes("shards", 4, **{"shards-per-client": 2}) == [50, 50, 50, 50]


def test_iid_is_so_on_rows_sorted_by_label() -> None:
    labels = np.repeat([0, 1], 100)
    for part in assign_rows("iid", {}, labels, 4, 1).values():
        assert 10 <= np.count_nonzero(labels[part]) <= 40


def test_pathological_clients_have_so_many_labels() -> None:
    parts = assign_rows("pathological", {"classes-per-client": 2}, LABELS, 6, 3)
    assert [len(set(LABELS[part])) for part in parts.values()] == [2] * 6


def test_dirichlet_alpha_rules_the_skew() -> None:
    def largest_share(alpha: float) -> float:
        parts = assign_rows("dirichlet", {"alpha": alpha}, np.arange(2000) % 4, 5, 0).values()
        shares = [np.bincount(np.arange(2000)[part] % 4).max() / len(part) for part in parts]
        return float(np.mean(shares))

    assert largest_share(0.1) > 0.6
    assert largest_share(1000.0) < 0.3


def test_labels_with_gaps_are_no_classes_of_their_own() -> None:
    parts = assign_rows("pathological", {"classes-per-client": 2}, LABELS * 10, 4, 3)
    assert sorted(np.concatenate(list(parts.values()))) == list(range(200))


def test_rows_left_over_are_reported(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assign_rows("shards", {"shards-per-client": 3}, LABELS, 3, 0)
    assert "leaves 2 rows to no client" in caplog.text


@pytest.mark.parametrize(
    ("name", "args", "clients", "message"),
    [
        ("iid", {}, 101, "set num-clients to 1 to 100"),
        ("iid", {}, 0, "set num-clients to 1 to 100"),
        ("exponential", {}, 20, "Lower num-clients"),
        ("square", {}, 8, r"over 8 clients failed: .* Lower num-clients"),
        ("linear", {}, 18, r"leaves 1 of 18 clients with fewer than 2 examples: client-0000 \(1\)"),
        ("dirichlet", {"alpha": 0.001}, 60, "Raise alpha, or lower num-clients or min-size"),
        ("pathological", {"classes-per-client": 5}, 4, "Lower num-clients or classes-per-client"),
        ("shards", {"shard-size": 150}, 4, "Lower num-clients, shards-per-client or shard-size"),
    ],
)
def test_impossible_partitions_say_what_to_change(
    name: str, args: dict[str, object], clients: int, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        assign_rows(name, args, LABELS, clients, 7)


def test_natural_ids_are_padded_and_in_order() -> None:
    values = np.asarray([str(number) for number in (2, 10, 2, 10, 2, 1, 1)])
    parts = assign_by_value(values, {"column": "client"})
    assert {client: part.tolist() for client, part in parts.items()} == {
        "client-01": [5, 6],
        "client-02": [0, 2, 4],
        "client-10": [1, 3],
    }
    assert list(parts) == ["client-01", "client-02", "client-10"]


def test_natural_ids_are_fit_for_file_names_and_stay_apart() -> None:
    values = np.asarray(["a/b", "a b", "a/b", "a b"])
    parts = assign_by_value(values, {"column": "who"})
    assert {client: part.tolist() for client, part in parts.items()} == {
        "who-a_b": [1, 3],
        "who-a_b-2": [0, 2],
    }


def test_small_natural_ids_are_refused_or_left_out(caplog: pytest.LogCaptureFixture) -> None:
    values = np.asarray(["x", "y", "y", "z"])
    with pytest.raises(
        DataError, match=r"column 'who' leaves 2 of 3 clients .* who-x \(1\), who-z"
    ):
        assign_by_value(values, {"column": "who"})
    with caplog.at_level(logging.WARNING):
        assert list(assign_by_value(values, {"column": "who", "min-size": 2})) == ["who-y"]
    assert "leaves out 2 of 3 values of 'who'" in caplog.text
    with pytest.raises(DataError, match=r"lower min-size"):
        assign_by_value(values, {"column": "who", "min-size": 9})
