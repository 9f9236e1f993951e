"""Concept shifts: groups of clients for whom the same input looks or means different."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from clients.data.columns import Columns
from clients.data.examples import Examples
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
    angle : int
        Degrees that images turn beyond, 0 to 89; in between, pixels are interpolated.
    relabel : mapping of str to str or None
        Name in place of each label name.
    fraction : float
        Share of each such label's rows that get it, in [0, 1].
    """

    number: int | None = None
    rotation: int = 0
    relabel: Mapping[str, str] | None = None
    fraction: float = 1.0
    angle: int = 0

    def seen(self, examples: Examples, seed: int, client: str, part: str) -> Examples:
        """Return examples as this group sees them.

        Parameters
        ----------
        examples : Examples
            Of one client.
        seed : int
            The partition seed; with client and part it says which rows a fraction takes.
        client : str
            Whose they are.
        part : {"train", "test"}
        """
        view = replace(examples, rotation=self.rotation, angle=self.angle, relabel=self.relabel)
        if self.relabel is None or self.fraction == 1:
            return view
        names = np.asarray(examples.label_names_of_rows())
        chosen = np.zeros(len(examples), bool)
        for name in self.relabel:
            rows = np.flatnonzero(names == name)
            # A product that only rounding keeps below a whole number counts as that number.
            count = int(round(self.fraction * len(rows), 9))
            generator = derive_generator(seed, "label-swap", client, part, name)
            chosen[generator.choice(rows, count, replace=False)] = True
        return replace(view, relabelled=chosen)


def concepts(
    args: Mapping[str, object], columns: Columns, label_names: tuple[str, ...], seed: int
) -> tuple[Concept, ...]:
    """Return the concepts of a shift; client number k has concept ``k % len(concepts)``.

    Parameters
    ----------
    args : mapping
        Partition arguments with ``shift``, ``groups`` and ``h``, checked by `validate_partition`.
    columns : Columns
        Rotation wants images.
    label_names : tuple of str
        All labels. In a permutation group 0 keeps them and each other group has one of its own;
        in a swap group 0 exchanges the first two, group 1 the last two.
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
    if shift == "label-swap":
        return _swaps(label_names, float(str(args.get("h", 1.0))))
    groups = args.get("groups", _DEFAULT_GROUPS)
    assert isinstance(groups, int)
    if shift == "rotation":
        if columns.kind != "image":
            raise DataError(
                f"partition-args: shift = 'rotation' turns images, but the data hold {columns}; "
                "use shift = 'label-permutation'"
            )
        return tuple(Concept(number, rotation=number) for number in range(groups))
    orders = label_permutations(label_names, groups, seed, "partition-args", "groups")
    return tuple(
        Concept(
            number,
            relabel=None
            if number == 0
            else {name: label_names[to] for name, to in zip(label_names, order, strict=True)},
        )
        for number, order in enumerate(orders)
    )


def label_permutations(
    label_names: Sequence[str], count: int, seed: int, setting: str, argument: str
) -> list[tuple[int, ...]]:
    """Return different permutations of the labels' numbers, the first of which keeps them.

    Parameters
    ----------
    label_names : sequence of str
    count : int
        How many.
    seed : int
        The partition seed.
    setting, argument : str
        What asked for so many, for messages.

    Raises
    ------
    DataError
        There are not so many permutations.
    """
    if math.factorial(min(len(label_names), count)) < count:
        raise DataError(
            f"{setting}: {len(label_names)} labels have fewer than {count} permutations; "
            f"lower {argument}"
        )
    generator = derive_generator(seed, "label-permutation")
    orders = [tuple(range(len(label_names)))]
    while len(orders) < count:
        order = tuple(int(k) for k in generator.permutation(len(label_names)))
        if order not in orders:
            orders.append(order)
    return orders


def _swaps(label_names: tuple[str, ...], fraction: float) -> tuple[Concept, ...]:
    """Return the two groups of a label swap, of https://arxiv.org/abs/2405.04171."""
    if len(label_names) < 3:
        raise DataError(
            f"partition-args: shift = 'label-swap' wants at least 3 labels, so that its two groups "
            f"swap different ones; found {len(label_names)}: {', '.join(label_names)}"
        )
    return tuple(
        Concept(number, relabel={one: other, other: one}, fraction=fraction)
        for number, (one, other) in enumerate((label_names[:2], label_names[-2:]))
    )
