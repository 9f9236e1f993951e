"""Names of labels, their order, and missing ones."""

from __future__ import annotations

import datasets
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients.data.labels import natural_key, order_labels, read_groups, read_labels
from models.errors import DataError


def column(values: list[object], feature: object = None) -> datasets.Dataset:
    features = datasets.Features(x=feature) if feature is not None else None
    return datasets.Dataset.from_dict({"x": values}, features=features)


def test_integers_sort_by_value_and_names_by_letter() -> None:
    assert order_labels(["10", "9", "-1", "9"]) == ("-1", "9", "10")
    assert order_labels(["10", "9", "b"]) == ("10", "9", "b")
    assert order_labels([]) == ()


@given(st.lists(st.text("01-ab", min_size=1, max_size=3)), st.randoms())
def test_order_does_not_depend_on_the_site(names: list[str], random: object) -> None:
    shuffled = list(names)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert order_labels(shuffled) == order_labels(names)


def test_natural_key() -> None:
    names = ["client-10", "client-2", "b", "client-2a", "7"]
    assert sorted(names, key=natural_key) == ["7", "b", "client-2", "client-2a", "client-10"]


@pytest.mark.parametrize(
    ("values", "feature", "names", "codes"),
    [
        ([3, 1, 3], None, ("1", "3"), [1, 0, 1]),
        (["b", "a", "b "], None, ("a", "b"), [1, 0, 1]),
        ([1.0, 2.0], None, ("1", "2"), [0, 1]),
        ([0.5, 2.0], None, ("0.5", "2"), [0, 1]),
        ([True, False], None, ("False", "True"), [1, 0]),
        ([2, 0], datasets.ClassLabel(names=["z", "y", "x"]), ("x", "z"), [0, 1]),
    ],
)
def test_codes_and_names(
    values: list[object], feature: object, names: tuple[str, ...], codes: list[int]
) -> None:
    found, found_names = read_labels(column(values, feature), "x", "client 'a'")
    assert found_names == names
    assert found.tolist() == codes


@pytest.mark.parametrize(
    ("values", "feature"),
    [
        (["a", None, "b", ""], None),
        ([1, None, 2, None], None),
        ([1.0, float("nan"), 2.0, None], None),
        ([0, -1, 0, -1], datasets.ClassLabel(names=["a"])),
    ],
)
def test_missing_labels_are_named(values: list[object], feature: object) -> None:
    with pytest.raises(
        DataError, match=r"client 'a': label column 'x' is empty in 2 of 4 .*row 1, 3"
    ):
        read_labels(column(values, feature), "x", "client 'a'")


def test_a_column_of_nothing_is_all_missing() -> None:
    with pytest.raises(DataError, match=r"empty in 2 of 2 rows"):
        read_labels(column([None, None]), "x", "client 'a'")


def test_lists_are_no_labels() -> None:
    with pytest.raises(DataError, match=r"client 'a': column 'x' holds list"):
        read_labels(column([[1], [2]]), "x", "client 'a'")


def test_missing_groups_are_a_group() -> None:
    assert read_groups(column(["f", None, "m"]), "x", "a").tolist() == ["f", "unknown", "m"]
