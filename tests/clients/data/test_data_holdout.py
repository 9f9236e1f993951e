"""Splits in two."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients.data.holdout import share_count, stratified_split


@given(
    labels=st.lists(st.integers(0, 5), min_size=0, max_size=60),
    share=st.floats(0, 1),
    seed=st.integers(0, 2**32),
)
def test_every_label_gives_its_exact_share(labels: list[int], share: float, seed: int) -> None:
    codes = np.asarray(labels, dtype=np.int64)
    count = round(share * len(codes))
    kept, taken = stratified_split(codes, count, np.random.default_rng(seed))
    assert len(taken) == count
    assert sorted([*kept, *taken]) == list(range(len(codes)))
    for label in set(labels):
        exact = labels.count(label) * count / len(labels)
        assert abs(np.count_nonzero(codes[taken] == label) - exact) < 1 + 1e-9


def test_divisible_shares_are_exact() -> None:
    codes = np.repeat([0, 1, 2], [10, 20, 30])
    _, taken = stratified_split(codes, 12, np.random.default_rng(1))
    assert np.bincount(codes[taken]).tolist() == [2, 4, 6]


def test_same_generator_same_split_other_generator_other_split() -> None:
    codes = np.zeros(50, np.int64)
    first, again, other = (
        stratified_split(codes, 10, np.random.default_rng(seed))[1].tolist() for seed in (3, 3, 4)
    )
    assert first == again
    assert first != other


def test_a_rare_label_is_taken_as_often_as_its_share() -> None:
    codes = np.asarray([0] + [1] * 9)
    taken = [stratified_split(codes, 2, np.random.default_rng(seed))[1] for seed in range(500)]
    assert 70 <= sum(0 in rows for rows in taken) <= 130


def test_more_than_there_are_is_refused() -> None:
    with pytest.raises(ValueError, match=r"cannot take 3 of 2 rows"):
        stratified_split(np.zeros(2, np.int64), 3, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("size", "fraction", "count"),
    [(0, 0.2, 0), (1, 0.2, 0), (2, 0.01, 1), (2, 0.99, 1), (10, 0.25, 2), (100, 0.2, 20)],
)
def test_share_leaves_no_part_empty(size: int, fraction: float, count: int) -> None:
    assert share_count(size, fraction) == count
