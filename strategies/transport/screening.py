"""The gate: what a reply must be before any method sees it."""

from __future__ import annotations

import math

import numpy as np

from models.errors import ClientError
from models.schema import NamedArrays


def check_weight(value: object, declared: int | None) -> int:
    """Return the number of examples a client states.

    Parameters
    ----------
    value : object
        As it arrived; a whole number >= 0 is accepted, as int or float.
    declared : int or None
        What the roster knows; a larger value is cut to it.

    Raises
    ------
    ClientError
        ``weight``, for anything else.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ClientError("weight", f"num-examples is a {type(value).__name__}, not a number")
    if not math.isfinite(value) or value < 0 or value != int(value):
        raise ClientError("weight", f"num-examples is {value!r}, not a whole number >= 0")
    if declared is not None:
        return min(int(value), declared)
    if value > 1e12:
        raise ClientError("weight", f"num-examples is {value!r}: more than any client holds")
    return int(value)


def check_update(arrays: NamedArrays) -> None:
    """Refuse numbers that are not finite; one dot product tells, the search comes after.

    Raises
    ------
    ClientError
        ``nonfinite``, with the first key and the count.
    """
    vector = arrays.vector
    with np.errstate(over="ignore", invalid="ignore"):
        square = float(np.dot(vector, vector))
    if math.isfinite(square):
        return
    bad = ~np.isfinite(vector)
    count = int(bad.sum())
    if count == 0:  # finite numbers whose squares overflow float32
        return
    place = int(np.argmax(bad))
    for key, (where, _) in arrays.schema.slices.items():
        if where.start <= place < where.stop:
            raise ClientError("nonfinite", f"{count} numbers are NaN or infinite, first in '{key}'")
