"""How far an update moves from what was sent, and how far is usual.

One pass gives norm and finiteness: a sum of squares is finite only if all its terms are. The usual
norm is the median over the updates accepted in the rounds before, so that nobody's norm depends on
who happened to answer first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from models.errors import ClientError
from models.payloads.masked import is_masked, mask_of, masked, numbers_of
from models.schema import NamedArrays, Vector
from strategies.transport.roster import natural_key

NormPolicy = Literal["record", "clip", "reject"]
_BLOCK = 1 << 16  # numbers; three blocks stay in a core's cache
_LARGEST = 1e150  # its square, times the numbers of any adapter, is finite in double precision
_WINDOW = 1000  # norms that the median is taken over


@dataclass(frozen=True)
class NormRule:
    """What is done about an update that is far larger than usual.

    Attributes
    ----------
    policy : {"record", "clip", "reject"}
        Record it and let it pass, scale it down to the limit, or refuse it.
    factor : float
        The limit, in medians of the norms accepted before.
    """

    policy: NormPolicy = "record"
    factor: float = 100.0


def update_norm(arrays: NamedArrays, start: NamedArrays | None) -> float:
    """Return the Euclidean norm of what a client changed.

    Parameters
    ----------
    arrays : NamedArrays
        What came back.
    start : NamedArrays or None
        What was sent; None, or of another schema, means that all of `arrays` is the change.

    Raises
    ------
    ClientError
        ``nonfinite``: numbers that are NaN, infinite or too large to be squared, with the first key
        and their count.
    """
    arrays = numbers_of(arrays)
    vector = arrays.vector
    origin = start.vector if start is not None and start.schema == arrays.schema else None
    square = _square(vector, origin, vector.dtype)
    if math.isfinite(square):
        return math.sqrt(square)
    bad, what = ~np.isfinite(vector), "NaN or infinite"
    if not bad.any():
        # Finite numbers whose squares overflow single precision.
        square = _square(vector, origin, np.dtype(np.float64))
        if math.isfinite(square):
            return math.sqrt(square)
        bad, what = np.abs(vector) > _LARGEST, f"above {_LARGEST:g}"
    place = int(np.argmax(bad))
    key = next(k for k, (where, _) in arrays.schema.slices.items() if where.stop > place)
    raise ClientError("nonfinite", f"{int(bad.sum())} numbers are {what}, first in '{key}'")


def _square(vector: Vector, origin: Vector | None, dtype: np.dtype[np.generic]) -> float:
    total = 0.0
    change = np.empty(min(_BLOCK, vector.size), dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, vector.size, _BLOCK):
            part = vector[start : start + _BLOCK]
            block = change[: part.size]
            if origin is None:
                block[...] = part
            else:
                np.subtract(part, origin[start : start + _BLOCK], out=block, dtype=dtype)
            total += float(np.dot(block, block))
    return total


def clipped(arrays: NamedArrays, start: NamedArrays | None, scale: float) -> NamedArrays:
    """Return `arrays` with the change from `start` multiplied by `scale`; a mask stays."""
    if is_masked(arrays.schema):
        return masked(clipped(numbers_of(arrays), start, scale), mask_of(arrays))
    vector = arrays.vector.astype(np.float64)
    if start is None or start.schema != arrays.schema:
        return arrays.replace(vector * scale)
    return arrays.replace(start.vector + (vector - start.vector) * scale)


class NormMemory:
    """The norms accepted so far; what is accepted in a round counts from the next one on."""

    def __init__(self) -> None:
        self._round = 0
        self._before: list[float] = []
        self._now: dict[str, float] = {}
        self._median: float | None = None  # not computed yet

    @property
    def median(self) -> float:
        """Median of the newest 1,000 norms accepted before this round; 0 while there are none."""
        if self._median is None:
            self._median = float(np.median(self._before)) if self._before else 0.0
        return self._median

    def open_round(self, server_round: int) -> None:
        """Begin a round, or another attempt at it; an earlier one begins another run."""
        if server_round < self._round:
            self._before, self._now = [], {}
        elif server_round > self._round:
            self._before, self._now = self._all(), {}
        if server_round != self._round:
            self._median = None
        self._round = server_round

    def accept(self, client: str, norm: float) -> None:
        """Keep the norm of an accepted update."""
        self._now[client] = norm

    def state(self) -> dict[str, int | list[float]]:
        """Return what a resumed run needs; JSON values."""
        return {"round": self._round, "norms": self._all()}

    def restore(self, state: Mapping[str, int | Sequence[float]]) -> None:
        """Take `state`'s result back; an empty mapping forgets everything."""
        said, norms = state.get("round", 0), state.get("norms", ())
        self._round = said if isinstance(said, int) else 0
        self._before = [] if isinstance(norms, int) else list(norms)
        self._now, self._median = {}, None

    def _all(self) -> list[float]:
        # In client order, so that the window does not depend on who answered first.
        newest = [self._now[c] for c in sorted(self._now, key=natural_key)]
        return [*self._before, *newest][-_WINDOW:]
