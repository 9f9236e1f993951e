"""Concept shifts, and all clients pooled under them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from clients.data import DataSpec, Federation, load_federation
from clients.data.columns import Columns
from clients.data.shifts import concepts
from models.errors import DataError

Write = Callable[..., Path]


def digits(**args: object) -> Federation:
    return load_federation(
        DataSpec(partition="iid", num_clients=6, partition_args=tuple(sorted(args.items())))
    )


def test_rotation_turns_groups_in_turn() -> None:
    plain, turned = digits(), digits(shift="rotation")
    for number, client in enumerate(plain.client_ids):
        before, after = plain.client(client), turned.client(client)
        assert (before.concept, after.concept) == (None, number % 4)
        assert after.train.rotation == after.test.rotation == number % 4
        assert before.train.indices.tolist() == after.train.indices.tolist()
        for part, rotated in ((before.train, after.train), (before.test, after.test)):
            expected = [np.rot90(np.asarray(image), number % 4) for image in part.inputs([0, 3])]
            found = [np.asarray(image) for image in rotated.inputs([0, 3])]
            assert (np.stack(found) == np.stack(expected)).all()
    assert turned.server_test is not None
    assert turned.server_test.rotation == 0


def test_label_permutation_changes_names_only() -> None:
    plain, permuted = digits(), digits(shift="label-permutation", groups=3)
    seen = set()
    for number, client in enumerate(plain.client_ids):
        before, after = plain.client(client).train, permuted.client(client).train
        assert permuted.client(client).concept == number % 3
        pairs = dict(zip(before.label_names_of_rows(), after.label_names_of_rows(), strict=True))
        assert sorted(pairs.values()) == sorted(pairs)
        assert (pairs == {name: name for name in pairs}) == (number % 3 == 0)
        seen.add(tuple(sorted(pairs.items())))
        assert after.label_counts() == {
            name: before.label_counts()[old]
            for name, old in sorted((new, old) for old, new in pairs.items())
        }
        names = permuted.label_names
        assert [names[k] for k in after.label_ids(names)] == after.label_names_of_rows()
    assert len(seen) == 3


@pytest.mark.parametrize("h", [0.0, 0.4, 1.0])
def test_label_swap_exchanges_a_share_of_two_labels(h: float) -> None:
    plain, swapped = digits(), digits(shift="label-swap", h=h)
    for number, client in enumerate(plain.client_ids):
        pair = ("0", "1") if number % 2 == 0 else ("8", "9")
        other = {pair[0]: pair[1], pair[1]: pair[0]}
        before, after = plain.client(client), swapped.client(client)
        assert after.concept == number % 2
        for part, view in ((before.train, after.train), (before.test, after.test)):
            old, new = part.label_names_of_rows(), view.label_names_of_rows()
            for name in plain.label_names:
                rows = [k for k, label in enumerate(old) if label == name]
                moved = [k for k in rows if new[k] != name]
                assert all(new[k] == other[name] for k in moved)
                assert len(moved) == (int(h * len(rows)) if name in pair else 0)
            names = swapped.label_names
            assert [names[k] for k in view.label_ids(names)] == new
            assert view.label_counts() == {n: new.count(n) for n in names if n in new}
            assert view.indices.tolist() == part.indices.tolist()
    assert swapped.server_test is not None
    assert swapped.server_test.relabel is None


def test_a_swap_takes_other_rows_for_other_seeds_and_clients() -> None:
    def rows(seed: int, client: str) -> list[int]:
        examples = digits().client("client-0000").train
        concept = concepts({"shift": "label-swap", "h": 0.5}, examples.columns, tuple("0123"), 0)[0]
        chosen = concept.seen(examples, seed, client, "train").relabelled
        assert chosen is not None
        return np.flatnonzero(chosen).tolist()

    assert rows(1, "a") == rows(1, "a")
    assert len({tuple(rows(*key)) for key in ((1, "a"), (2, "a"), (1, "b"))}) == 3


def test_a_share_is_whole_where_rounding_alone_says_less() -> None:
    examples = digits().client("client-0000").train
    zeros = examples.indices[np.asarray(examples.label_names_of_rows()) == "0"]
    ten = replace(examples, indices=np.resize(zeros, 100))
    concept = concepts({"shift": "label-swap", "h": 0.29}, ten.columns, tuple("0123"), 0)[0]
    assert int(0.29 * 100) == 28
    assert concept.seen(ten, 0, "a", "train").label_counts() == {"0": 71, "1": 29}


def test_an_unknown_label_is_named_as_its_client_sees_it() -> None:
    examples = digits(shift="label-swap", h=1.0).client("client-0001").train
    with pytest.raises(DataError, match=r"label '9' in column 'label' is unknown"):
        examples.label_ids(tuple("012345678"))


def test_rotation_wants_images_and_permutation_enough_labels() -> None:
    text = Columns("text", ("text",), "label", ())
    with pytest.raises(DataError, match=r"the data hold text in column 'text'"):
        concepts({"shift": "rotation"}, text, ("a", "b"), 0)
    with pytest.raises(DataError, match=r"2 labels have fewer than 4 permutations"):
        concepts({"shift": "label-permutation"}, text, ("a", "b"), 0)
    with pytest.raises(DataError, match=r"wants at least 3 labels.*found 2: a, b"):
        concepts({"shift": "label-swap"}, text, ("a", "b"), 0)
    swaps = concepts({"shift": "label-swap", "h": 0.4}, text, ("a", "b", "c"), 0)
    assert [(s.number, s.relabel, s.fraction) for s in swaps] == [
        (0, {"a": "b", "b": "a"}, 0.4),
        (1, {"b": "c", "c": "b"}, 0.4),
    ]
    both = concepts({"shift": "label-permutation", "groups": 2}, text, ("a", "b"), 0)
    assert [concept.relabel for concept in both] == [None, {"a": "b", "b": "a"}]


def test_pooled_without_a_shift_shares_the_table() -> None:
    federation = digits()
    pooled = federation.pooled()
    assert pooled.client_id == "@pooled"
    first = federation.client("client-0000")
    assert pooled.train.table is first.train.table
    assert pooled.train.indices[: len(first.train)].tolist() == first.train.indices.tolist()
    assert len(pooled.train) + len(pooled.test) == 1797 - 359


@pytest.mark.parametrize("shift", ["rotation", "label-permutation", "label-swap"])
def test_pooled_rows_stay_as_their_clients_see_them(shift: str) -> None:
    federation = digits(shift=shift, **({"h": 0.5} if shift == "label-swap" else {}))
    pooled = federation.pooled()
    start = 0
    for client in federation.client_ids:
        test = federation.client(client).test
        rows = range(start, start + len(test))
        assert pooled.test.label_names_of_rows()[start : start + len(test)] == (
            test.label_names_of_rows()
        )
        found, expected = pooled.test.inputs(rows), test.inputs()
        assert all(
            (np.asarray(a) == np.asarray(b)).all() for a, b in zip(found, expected, strict=True)
        )
        start += len(test)
    assert pooled.test.rotation == 0
    assert pooled.test.table.key != federation.client("client-0000").test.table.key


def test_pooled_folders_with_different_names(write: Write) -> None:
    write("all/a/rows.csv", {"text": ["a0", "a1"], "label": ["x", "y"], "sex": ["f", "m"]})
    path = write(
        "all/b/rows.csv",
        {"sentence": ["b0", "b1", "b2"], "intent": ["y", "z", "z"], "sex": ["f"] * 3},
    ).parent.parent
    federation = load_federation(
        DataSpec(
            dataset=str(path),
            partition="folders",
            group_columns=("sex",),
            test_fraction=0.5,
            partition_args=(("groups", 2), ("shift", "label-permutation")),
        )
    )
    pooled = federation.pooled()
    for part in ("train", "test"):
        halves = [getattr(federation.client(client), part) for client in ("a", "b")]
        whole = getattr(pooled, part)
        assert whole.inputs() == [text for half in halves for text in half.inputs()]
        assert whole.label_names_of_rows() == [
            name for half in halves for name in half.label_names_of_rows()
        ]
        assert whole.group_values()["sex"] == [
            value for half in halves for value in half.group_values()["sex"]
        ]
