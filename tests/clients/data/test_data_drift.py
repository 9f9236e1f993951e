"""Concept drift: who sees what in which slot."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clients.data import DataSpec, Drift, Federation, load_federation, load_site, make_drift
from clients.data.drift import validate_drift
from clients.data.examples import rotated
from models.errors import ConfigurationError, DataError

TEN = tuple("0123456789")


def digits(kind: str, partition: str = "iid", clients: int = 8, **args: object) -> Federation:
    named = {key.replace("_", "-"): value for key, value in args.items()}
    return load_federation(
        DataSpec(
            partition=partition,
            partition_args=(),
            num_clients=clients,
            drift=kind,
            drift_args=tuple(sorted(named.items())),
        )
    )


def drift(kind: str, clients: int, **args: object) -> Drift:
    named = {key.replace("_", "-"): value for key, value in args.items()}
    return Drift(kind, named, 42, TEN, tuple(f"client-{n:04d}" for n in range(clients)))


def labels(federation: Federation, client: str, slot: int) -> list[str]:
    return federation.client(client, slot).train.label_names_of_rows()


def test_rotation_turns_everybody_further_in_each_slot() -> None:
    federation = digits("rotation")
    plain = load_federation(DataSpec(partition="iid", partition_args=(), num_clients=8))
    for slot in range(5):
        data, before = federation.client("client-0003", slot), plain.client("client-0003")
        assert data.train.rotation == data.test.rotation == slot % 4
        assert data.concept == slot % 4
        assert data.train.indices.tolist() == before.train.indices.tolist()
        found = np.asarray(data.test.inputs([0])[0])
        expected = np.rot90(np.asarray(before.test.inputs([0])[0]), slot % 4)
        np.testing.assert_array_equal(found, expected)
    assert federation.drift is not None
    assert [federation.drift.drifted("client-0003", slot) for slot in range(3)] == [
        "none", "virtual", "virtual",
    ]  # fmt: skip


def test_other_angles_are_interpolated_and_always_alike() -> None:
    federation = digits("rotation", degrees=120)
    data = federation.client("client-0000", 2)
    assert (data.train.rotation, data.train.angle, data.concept) == (2, 60, 2)
    assert federation.client("client-0000", 3).concept == 0
    image = load_federation(DataSpec(partition="iid", partition_args=(), num_clients=8))
    before = image.client("client-0000").train.inputs([0])[0]
    found = np.asarray(data.train.inputs([0])[0])
    np.testing.assert_array_equal(found, np.asarray(rotated(before, 2, 60)))
    np.testing.assert_array_equal(found, np.asarray(data.train.inputs([0])[0]))
    assert (found != np.rot90(np.asarray(before), 2)).any()


def test_groups_begin_apart_and_may_take_turns() -> None:
    apart = drift("rotation", 6, groups=3)
    assert [apart.concept(c, 0).number for c in apart.clients] == [0, 1, 2, 0, 1, 2]
    assert [apart.concept(c, 1).number for c in apart.clients] == [1, 2, 3, 1, 2, 3]
    same = drift("rotation", 4, groups=2, start="same", in_turn=True)
    numbers = [[same.concept(c, slot).number for c in same.clients] for slot in range(5)]
    assert numbers == [[0, 0, 0, 0], [1, 0, 1, 0], [1, 1, 1, 1], [2, 1, 2, 1], [2, 2, 2, 2]]


def test_a_share_of_the_clients_moves() -> None:
    some = drift("label-cycle", 10, moving=0.3)
    for slot in range(1, 5):
        kinds = Counter(some.drifted(client, slot) for client in some.clients)
        assert kinds == {"real": 3, "none": 7}
    nobody = drift("label-cycle", 10, moving=0)
    assert {nobody.concept(c, 3).number for c in nobody.clients} == {0}


def test_label_cycle_adds_to_the_label_number() -> None:
    federation = digits("label-cycle", by=3)
    first, second = (labels(federation, "client-0001", slot) for slot in (0, 1))
    assert second == [str((int(name) + 3) % 10) for name in first]
    assert federation.client("client-0001", 1).concept == 3


def test_label_permutations_come_round_again() -> None:
    federation = digits("label-permutation", concepts=2)
    first, second, third = (labels(federation, "client-0001", slot) for slot in range(3))
    assert first == third != second
    assert len(set(zip(first, second, strict=True))) == 10


def test_label_skew_keeps_another_share_of_the_rows() -> None:
    federation = digits("label-skew", alpha=0.2)
    plain = load_federation(DataSpec(partition="iid", partition_args=(), num_clients=8))
    for client in federation.client_ids:
        before = plain.client(client)
        counts = []
        for slot in range(2):
            data = federation.client(client, slot)
            assert set(data.train.indices) < set(before.train.indices)
            assert set(data.test.indices) <= set(before.test.indices)
            assert len(data.train) > 0 < len(data.test)
            # The most frequent label keeps all its rows.
            assert any(
                data.train.label_counts().get(name) == count
                for name, count in before.train.label_counts().items()
            )
            counts.append(data.train.label_counts())
        assert counts[0] != counts[1]
    assert federation.drift is not None
    assert federation.drift.drifted("client-0001", 1) == "label"


def test_divided_rows_are_dealt_evenly_over_the_slots() -> None:
    federation = digits("rotation", slots=3, rows="divided")
    plain = load_federation(DataSpec(partition="iid", partition_args=(), num_clients=8))
    for client in federation.client_ids:
        whole = plain.client(client)
        parts = [federation.client(client, slot) for slot in range(3)]
        rows = np.concatenate([part.train.indices for part in parts])
        assert sorted(rows) == sorted(whole.train.indices)
        sizes = [len(part.train) for part in parts]
        assert max(sizes) - min(sizes) <= 1
        for label, count in whole.train.label_counts().items():
            own = [part.train.label_counts().get(label, 0) for part in parts]
            assert count // 3 <= min(own) <= max(own) <= count // 3 + 1
        assert all(part.test.indices.tolist() == whole.test.indices.tolist() for part in parts)


def test_feddaa_deals_two_then_three_then_four_labellings() -> None:
    federation = digits("feddaa", clients=12)
    plain = load_federation(DataSpec(partition="iid", partition_args=(), num_clients=12))
    signs = ((1, 0), (-1, 9), (1, 1), (1, 2))
    told = [[(sign * y + k) % 10 for y in range(10)] for sign, k in signs]
    assert federation.drift is not None
    kinds = set()
    for slot, pool in enumerate((2, 3, 4, 4, 4, 4)):
        numbers = Counter()
        for client in federation.client_ids:
            data = federation.client(client, slot)
            assert data.concept is not None
            numbers[data.concept] += 1
            assert 90 * data.train.rotation + data.train.angle == 120 * (slot % 3)
            before = plain.client(client).train.label_names_of_rows()
            assert data.train.label_names_of_rows() == [
                str(told[data.concept][int(name)]) for name in before
            ]
            kinds.add(federation.drift.drifted(client, slot))
        assert numbers == dict.fromkeys(range(pool), 12 // pool)
    assert kinds == {"none", "virtual", "real"}


def test_pooled_rows_stay_as_their_clients_see_them() -> None:
    federation = digits("feddaa", clients=4)
    for slot in (0, 1):
        pooled = federation.pooled(slot)
        seen = [federation.client(client, slot).train for client in federation.client_ids]
        names = [name for part in seen for name in part.label_names_of_rows()]
        assert pooled.train.label_names_of_rows() == names
        last = np.asarray(seen[-1].inputs([0])[0])
        at = sum(len(part) for part in seen[:-1])
        np.testing.assert_array_equal(np.asarray(pooled.train.inputs([at])[0]), last)


def test_a_site_drifts_as_its_folder_does_in_a_simulation(
    image_folder: Callable[..., Path],
) -> None:
    for name in ("a", "b", "c"):
        image_folder(f"all/{name}", {"0": 6, "1": 6, "2": 6})
    root = image_folder("all/d", {"0": 6, "1": 6, "2": 6}).parent
    args = (("groups", 4), ("moving", 0.5), ("rows", "divided"), ("slots", 2))
    spec = DataSpec(dataset=str(root), partition="folders", partition_args=(), drift="label-cycle")
    spec = replace(spec, drift_args=args)
    federation = load_federation(spec)
    alone = make_drift(spec, federation.label_names, "image")
    assert alone is not None
    for client in ("a", "b", "c", "d"):
        for slot in (0, 1):
            site = alone.seen(load_site(spec, root / client, client), slot)
            data = federation.client(client, slot)
            assert site.concept == data.concept
            assert site.train.indices.tolist() == data.train.indices.tolist()
            assert site.train.label_names_of_rows() == data.train.label_names_of_rows()


def test_texts_do_not_turn() -> None:
    spec = DataSpec(drift="feddaa")
    found = make_drift(spec, TEN, "text")
    assert found is not None
    assert found.concept("a", 1).angle == found.concept("a", 1).rotation == 0
    with pytest.raises(DataError, match="drift = 'rotation' turns images"):
        make_drift(replace(spec, drift="rotation"), TEN, "text")
    with pytest.raises(DataError, match="at least 3 labels"):
        make_drift(spec, ("no", "yes"), "image")


def test_the_truth_has_a_row_for_each_client_and_slot() -> None:
    rows = drift("rotation", 2, groups=2, at=(3, 9)).table(("client-0000", "client-0001"), 8)
    assert rows == [
        (0, 1, "client-0000", 0, 0, "none"),
        (0, 1, "client-0001", 1, 90, "none"),
        (1, 3, "client-0000", 1, 90, "virtual"),
        (1, 3, "client-0001", 2, 180, "virtual"),
    ]


@settings(max_examples=30, deadline=None)
@given(st.text(min_size=1, max_size=8), st.integers(0, 9), st.integers(1, 5))
def test_an_unknown_client_always_finds_the_same_concept(who: str, slot: int, groups: int) -> None:
    known = drift("label-permutation", 4, groups=groups, moving=0.5, concepts=5)
    assert known.concept(who, slot) == known.concept(who, slot)
    assert 0 <= known.concept(who, slot).number < 5


@pytest.mark.parametrize(
    ("kind", "args", "said"),
    [
        ("none", {"every": 3}, "arguments without a drift"),
        ("rotatoin", {}, "drift = 'rotatoin' is unknown: did you mean 'rotation'"),
        ("rotation", {"alpha": 1}, "'alpha' is no argument of 'rotation'"),
        ("rotation", {"degrees": 360}, "degrees = 360 is not allowed"),
        ("rotation", {"at": [5, 3]}, "at = [5, 3] is not allowed"),
        ("rotation", {"at": [1]}, "at = [1] is not allowed"),
        ("rotation", {"at": [5], "every": 3}, "at names the rounds itself"),
        ("rotation", {"rows": "divided"}, "give slots, or at"),
        ("rotation", {"in-turn": True}, "in-turn wants groups"),
        ("rotation", {"in-turn": True, "groups": 2, "moving": 0.5}, "drop one of them"),
        ("feddaa", {"groups": 2}, "'groups' is no argument of 'feddaa'"),
    ],
)
def test_wrong_arguments_are_named(kind: str, args: dict[str, object], said: str) -> None:
    errors = validate_drift(kind, args)
    assert len(errors) == 1
    assert said in errors[0]
    if kind != "none":
        with pytest.raises(ConfigurationError):
            load_federation(DataSpec(drift=kind, drift_args=tuple(args.items())))


def test_spec_with_a_drift_travels() -> None:
    spec = DataSpec(drift="rotation", drift_args=(("at", (3, 9)), ("groups", 2)))
    assert DataSpec.from_json(spec.to_json()) == spec
    assert hash(DataSpec.from_json(spec.to_json())) == hash(spec)
