"""Counts by group: sums over holders are the whole, and nonsense from outside is refused."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.fairness.counts import GroupCounts, score_bins


def counted(rows: range | list[int], seed: int = 0, classes: int = 2) -> GroupCounts:
    generator = np.random.default_rng(seed)
    count = 400
    groups = {
        "sex": generator.choice(["f", "m"], count),
        "race": generator.choice(["a", "b", "c"], count, p=[0.6, 0.3, 0.1]),
    }
    targets = generator.integers(classes, size=count)
    said = np.where(generator.random(count) < 0.7, targets, generator.integers(classes, size=count))
    margins = generator.normal(size=count).astype(np.float32)
    chosen = np.asarray(rows)
    return GroupCounts.of(
        {column: values[chosen].tolist() for column, values in groups.items()},
        targets[chosen],
        said[chosen],
        classes,
        margins[chosen],
    )


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=400, max_size=400), st.sampled_from([2, 5]))
def test_any_partition_adds_up_to_the_whole(owners: list[int], classes: int) -> None:
    parts = [[row for row in range(400) if owners[row] == who] for who in range(5)]
    total = GroupCounts.sum(counted(rows, classes=classes) for rows in parts if rows)
    assert total is not None
    assert total.to_json() == counted(range(400), classes=classes).to_json()


def test_columns_pairs_and_all_are_views_of_the_same_cells() -> None:
    whole = counted(range(400))
    assert whole.views() == (("sex",), ("race",), ("sex", "race"))
    for view in whole.views():
        cells = whole.by(view)
        assert sum(cell.examples for cell in cells.values()) == 400
        assert sum(int(cell.hits.sum()) for cell in cells.values()) == sum(
            cell.correct for cell in whole.cells.values()
        )
    three = GroupCounts.of({column: ["x"] for column in "abc"}, np.array([0]), np.array([1]), 2)
    assert three.views() == (*(("a",), ("b",), ("c",)), *(("a", "b"), ("a", "c"), ("b", "c")),
                             ("a", "b", "c"))  # fmt: skip


@given(st.lists(st.floats(width=32, allow_nan=False), min_size=2, max_size=20))
def test_bins_keep_the_order_of_scores(margins: list[float]) -> None:
    given_ = np.sort(np.array(margins, dtype=np.float32))
    assert (np.diff(score_bins(given_)) >= 0).all()
    assert score_bins(-given_).tolist() == (-score_bins(given_)).tolist()


def test_bins_are_numbers_of_sixteen_binary_digits() -> None:
    one, step = 0x3F8000, 2.0**-15
    margins = np.array([1, 1 + step, 1 + 0.49 * step, 1 + 0.51 * step, 1e300], dtype=np.float64)
    assert score_bins(margins).tolist() == [one, one + 1, one, one + 1, 0x7F7FFF]


def test_bins_of_numbers_that_are_none() -> None:
    found = score_bins(np.array([np.nan, np.inf, -np.inf, 0.0, -0.0], dtype=np.float32))
    assert found.tolist() == [0, 0x7F7FFF, -0x7F7FFF, 0, 0]


def test_what_travels_comes_back() -> None:
    whole = counted(range(400))
    text = json.dumps(whole.to_json())
    assert GroupCounts.from_json(json.loads(text)).to_json() == whole.to_json()
    assert '"scores": null' in json.dumps(whole.to_json(scores=False))


def test_other_columns_or_classes_are_not_mixed_in() -> None:
    first, other = counted(range(50)), counted(range(50), classes=3)
    total = GroupCounts.sum([first, other])
    assert total is not None
    assert total.to_json() == first.to_json()
    assert GroupCounts.sum([]) is None


BROKEN = {
    "nothing": lambda c: c.clear(),
    "cells": lambda c: c.update(cells=[]),
    "columns": lambda c: c.update(columns=["sex"]),
    "twice": lambda c: c["cells"].append(c["cells"][0]),
    "number": lambda c: c["cells"][0].update(values=["f", 3]),
    "negative": lambda c: c["cells"][0].update(true=[-1, 5], named=[2, 2]),
    "float": lambda c: c["cells"][0].update(true=[1.0, 5]),
    "huge": lambda c: c["cells"][0].update(true=[10**400, 5]),
    "sum": lambda c: c["cells"][0]["true"].__setitem__(0, 10_000),
    "hits": lambda c: c["cells"][0].update(hits=[10_000, 0]),
    "classes": lambda c: c["cells"][0].update(true=[1], named=[1], hits=[1], scores=None),
    "order": lambda c: c["cells"][0]["scores"][0].reverse(),
    "bins": lambda c: c["cells"][0]["scores"][0].__setitem__(-1, 0x7F8000),
    "length": lambda c: c["cells"][0]["scores"][1].append(1),
    "scores": lambda c: c["cells"][0]["scores"][1].__setitem__(0, 99),
    "list": lambda c: c["cells"].__setitem__(0, 7),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_cannot_have_been_counted_is_refused(name: str) -> None:
    content = copy.deepcopy(counted(range(400)).to_json())
    BROKEN[name](content)  # type: ignore[no-untyped-call]
    with pytest.raises(ValueError, match=r"\w"):
        GroupCounts.from_json(content)
