"""Sums of long vectors, a block at a time: what is converted to float64 stays in the cache.

Memory does not grow, and two threads share the blocks of a long vector; every element is added up
in the order of the calls, so the bits are the same with one thread.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import numpy.typing as npt

from models.schema import Vector

Float64 = npt.NDArray[np.float64]

_BLOCK = 1 << 15
# Below, waking a second thread costs more than it saves.
_LONG = 1 << 20


def add_scaled(total: Float64, vector: Vector, weight: float) -> None:
    """Add ``weight * vector`` to `total` in place, in float64; both have shape (size,)."""
    size = vector.shape[0]
    if size < _LONG:
        _add(total, vector, weight)
        return
    half = size // 2
    first = _second_thread().submit(_add, total[:half], vector[:half], weight)
    _add(total[half:], vector[half:], weight)
    first.result()


def divided(total: Float64, divisor: float, into: Vector) -> None:
    """Write ``total / divisor`` into another vector of the same shape and any float type."""
    for start in range(0, total.shape[0], _BLOCK):
        part = slice(start, start + _BLOCK)
        into[part] = total[part] / divisor


def _add(total: Float64, vector: Vector, weight: float) -> None:
    scratch = np.empty(min(_BLOCK, vector.shape[0]))
    for start in range(0, vector.shape[0], _BLOCK):
        part = slice(start, start + _BLOCK)
        scaled = scratch[: vector[part].shape[0]]
        scaled[...] = vector[part]
        scaled *= weight
        total[part] += scaled


@cache
def _second_thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, "aggregation")
