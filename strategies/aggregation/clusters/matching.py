"""Numbers of clusters that stay over re-clusterings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment


def kept_numbers(before: Mapping[str, int], groups: Sequence[Sequence[str]]) -> list[int | None]:
    """Return for each new group the old cluster that it continues, or None for a new one.

    Old and new are matched one to one so that as many clients as possible keep their number.

    Parameters
    ----------
    before : mapping of str to int
        The clients' clusters until now.
    groups : sequence of sequence of str
        The clients of each new group.
    """
    numbers = sorted({*before.values()})
    column = {number: i for i, number in enumerate(numbers)}
    overlap = np.zeros((len(groups), len(numbers)))
    for row, clients in enumerate(groups):
        for client in clients:
            if client in before:
                overlap[row, column[before[client]]] += 1
    kept: list[int | None] = [None] * len(groups)
    for row, place in zip(*linear_sum_assignment(overlap, maximize=True), strict=True):
        if overlap[row, place]:
            kept[row] = numbers[place]
    return kept
