"""Concept shifts: groups of clients for whom the same input looks or means different."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from clients.data.columns import Columns
from models.errors import DataError
from models.randomness import derive_generator

_DEFAULT_GROUPS = 4


@dataclass(frozen=True)
class Concept:
    """What one group of clients sees.

    Attributes
    ----------
    number : int or None
        Group; None without a shift.
    rotation : int
        Quarter turns of images, 0 to 3.
    relabel : mapping of str to str or None
        Name in place of each label name.
    """

    number: int | None = None
    rotation: int = 0
    relabel: Mapping[str, str] | None = None


def concepts(
    args: Mapping[str, object], columns: Columns, label_names: tuple[str, ...], seed: int
) -> tuple[Concept, ...]:
    """Return the concepts of a shift; client number k has concept ``k % len(concepts)``.

    Parameters
    ----------
    args : mapping
        Partition arguments with ``shift`` and ``groups``, checked by `validate_partition`.
    columns : Columns
        Rotation wants images.
    label_names : tuple of str
        All labels; group 0 keeps them, each other group has a permutation of its own.
    seed : int
        The partition seed.

    Raises
    ------
    DataError
        If the data does not suit the shift.
    """
    shift = args.get("shift")
    if shift is None:
        return (Concept(),)
    groups = args.get("groups", _DEFAULT_GROUPS)
    assert isinstance(groups, int)
    if shift == "rotation":
        if columns.kind != "image":
            raise DataError(
                f"partition-args: shift = 'rotation' turns images, but the input column "
                f"'{columns.input}' holds text; use shift = 'label-permutation'"
            )
        return tuple(Concept(number, rotation=number) for number in range(groups))
    if math.factorial(min(len(label_names), groups)) < groups:
        raise DataError(
            f"partition-args: {len(label_names)} labels have fewer than {groups} permutations; "
            "lower groups"
        )
    generator = derive_generator(seed, "label-permutation")
    orders = [tuple(range(len(label_names)))]
    while len(orders) < groups:
        order = tuple(int(k) for k in generator.permutation(len(label_names)))
        if order not in orders:
            orders.append(order)
    return tuple(
        Concept(
            number,
            relabel=None
            if number == 0
            else {name: label_names[to] for name, to in zip(label_names, order, strict=True)},
        )
        for number, order in enumerate(orders)
    )
