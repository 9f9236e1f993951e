"""Short vectors in which distances and angles of long ones can be read off.

`Fold` is a count sketch (Charikar et al. 2002): number i of a vector goes with a random sign into
place i mod p, p prime so that no row length of a matrix falls into step with it. `ProductFold`
does the same for products of factors without forming them: with Gaussian P and Q of variances 1/k,
<P X Q, P Y Q> is <X, Y> in the mean, and P (B A) Q = (P B)(A Q). Layers have P and Q of their own,
so their sketches may be added. Relative errors of squared distances are about sqrt(2/size).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from models.lora.pairs import Layout
from models.schema import NamedArrays, Vector

Float64 = npt.NDArray[np.float64]
Generators = Callable[[str], np.random.Generator]
_ROWS = 512  # of a block; its numbers stay in a core's cache


class Fold:
    """A count sketch of vectors of one length.

    Parameters
    ----------
    length : int
        Of the vectors.
    size : int
        Of the sketch; the largest prime up to it is taken.
    generator : numpy.random.Generator
        Gives the signs; the same for all vectors that are compared.

    Attributes
    ----------
    size : int
        The prime.
    """

    def __init__(self, length: int, size: int, generator: np.random.Generator) -> None:
        self.size = largest_prime(size)
        self._signs = 2 * generator.integers(0, 2, size=length, dtype=np.int8) - 1

    def __call__(self, vector: Vector, minus: Vector | None = None) -> Float64:
        """Return the sketch of ``vector - minus``, shape (size,)."""
        total = np.zeros(self.size)
        step = _ROWS * self.size
        for start in range(0, vector.size, step):
            part: Vector = vector[start : start + step]
            if minus is not None:
                part = part - minus[start : start + step]
            signed = part * self._signs[start : start + step]
            whole = signed.size - signed.size % self.size
            total += signed[:whole].reshape(-1, self.size).sum(axis=0, dtype=signed.dtype)
            total[: signed.size - whole] += signed[whole:]
        return total


class ProductFold:
    """A sketch of all products s B A of an adapter, at any rank.

    Parameters
    ----------
    layout : Layout
    size : int
        Of the sketch; its root is rounded down.
    generators : callable
        ``(layer) -> Generator``.
    """

    def __init__(self, layout: Layout, size: int, generators: Generators) -> None:
        side = math.isqrt(size)
        self.size = side * side
        self._sides: dict[str, tuple[Float64, Float64]] = {}
        for place in layout.places:
            generator = generators(place.layer)
            left = generator.normal(size=(side, place.d_out)) / math.sqrt(side)
            right = generator.normal(size=(place.d_in, side)) / math.sqrt(side)
            self._sides[place.layer] = left, right

    def __call__(self, arrays: NamedArrays) -> Float64:
        """Return the sum over layers of P (s B A) Q, shape (size,)."""
        total = np.zeros(self.size)
        for pair in Layout.of(arrays.schema).pairs(arrays):
            left, right = self._sides[pair.layer]
            total += pair.scale * ((left @ pair.b) @ (pair.a @ right)).reshape(-1)
        return total


def largest_prime(limit: int) -> int:
    """Return the largest prime up to a limit of at least 2."""
    number = max(2, limit)
    while any(number % divisor == 0 for divisor in range(2, math.isqrt(number) + 1)):
        number -= 1
    return number
