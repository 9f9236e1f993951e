"""Names and arguments of partitions, checked before any data."""

from __future__ import annotations

import pytest

from clients.data import PARTITIONS, validate_partition


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("iid", {}),
        ("dirichlet", {}),
        ("dirichlet", {"alpha": 1, "min-size": 5, "balanced": True}),
        ("pathological", {"classes-per-client": 3}),
        ("shards", {"shards-per-client": 2, "shard-size": 10}),
        ("natural-id", {"column": "client", "min-size": 3}),
        ("folders", {"shift": "rotation", "groups": 4}),
        ("exponential", {"shift": "label-permutation", "groups": 9}),
        ("iid", {"shift": "label-swap"}),
        ("iid", {"shift": "label-swap", "h": 0}),
        ("length", {"strictness": 0.5}),
        ("embeddings", {"alpha": 0.1, "clusters": 5, "min-size": 9, "model": "owner/name"}),
    ],
)
def test_right_arguments_have_no_errors(name: str, args: dict[str, object]) -> None:
    assert validate_partition(name, args) == []


@pytest.mark.parametrize(
    ("name", "args", "part"),
    [
        ("dirichle", {}, "did you mean 'dirichlet'"),
        (
            "dirichlet",
            {"alhpa": 0.3},
            "'alhpa' is no argument of 'dirichlet': did you mean 'alpha'",
        ),
        ("iid", {"alpha": 0.3}, "'alpha' is no argument of 'iid'"),
        ("length", {"strictness": 2}, "allowed: a number from 0 to 1"),
        ("embeddings", {"model": "m", "column": "c"}, "both say where embeddings come from"),
        ("dirichlet", {"alpha": 0}, "alpha = 0 is not allowed; allowed: a number above 0"),
        ("dirichlet", {"alpha": "0.3"}, "alpha = '0.3' is not allowed; allowed: a number above 0"),
        ("dirichlet", {"alpha": True}, "alpha = True"),
        ("dirichlet", {"alpha": float("nan")}, "alpha = nan"),
        ("dirichlet", {"balanced": 1}, "balanced = 1 is not allowed; allowed: true or false"),
        ("dirichlet", {"min-size": 1}, "allowed: a whole number from 2"),
        ("pathological", {"classes-per-client": 2.0}, "allowed: a whole number from 1"),
        ("natural-id", {}, "'natural-id' needs column"),
        ("natural-id", {"column": 3}, "column = 3 is not allowed; allowed: a name"),
        ("iid", {"shift": "rotate"}, "did you mean 'rotation'"),
        ("iid", {"h": 0.4}, "h is the share that shift = 'label-swap' swaps"),
        ("iid", {"shift": "rotation", "h": 0.4}, "h is the share that shift = 'label-swap' swaps"),
        ("iid", {"shift": "label-swap", "h": 1.1}, "allowed: a number from 0 to 1"),
        ("iid", {"shift": "label-swap", "groups": 2}, "label-swap', which has two"),
        ("iid", {"groups": 2}, "groups is set without a shift"),
        ("iid", {"shift": "rotation", "groups": 5}, "there are 4 quarter turns"),
        ("iid", {"shift": "rotation", "groups": 1}, "allowed: a whole number from 2"),
    ],
)
def test_wrong_arguments_are_named(name: str, args: dict[str, object], part: str) -> None:
    (error,) = validate_partition(name, args)
    assert part in error


def test_all_errors_are_listed() -> None:
    assert len(validate_partition("dirichlet", {"alpha": -1, "beta": 2, "groups": 3})) == 3


def test_every_partition_has_one_line_of_help() -> None:
    for kind in PARTITIONS.values():
        for text in (kind.help, *(argument.help for argument in kind.arguments.values())):
            assert text
            assert "\n" not in text
