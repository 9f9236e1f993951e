"""Products of factors and their weighted sums, kept as factors.

With A_s = [w_1 s_1 A_1; ...; w_K s_K A_K] and B_s = [B_1 ... B_K] stacked over the clients,
B_s A_s = sum_k w_k s_k B_k A_k exactly (FLoRA, Wang et al. 2024, https://arxiv.org/abs/2409.05976).
The scale and the weight go into A alone.

Norms and inner products come from Gram matrices of the factors: <B A, D C> = <B^T D, A C^T>. Where
factors cancel, half the digits would be lost that way; then triangular factors are used instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.errors import ModelError
from models.lora.pairs import Layout, Matrix, Pair
from models.schema import NamedArrays, Schema

Dense = npt.NDArray[np.float64]

# Below this share of the factors' own size the square of a product's norm has fewer than about
# eight digits left of float64's sixteen.
_CANCELLED = 1e-8


@dataclass(frozen=True)
class Product:
    """A matrix ``b @ a``; scales and weights are inside `a`.

    Attributes
    ----------
    a : ndarray, shape (rank, d_in), float64
    b : ndarray, shape (d_out, rank), float64
    """

    a: Dense
    b: Dense

    @property
    def rank(self) -> int:
        """Number of columns of b, which is at least the matrix's rank."""
        return int(self.a.shape[0])

    @property
    def shape(self) -> tuple[int, int]:
        """(d_out, d_in)."""
        return int(self.b.shape[0]), int(self.a.shape[1])


Delta = Product | Dense
"""The change of one layer: factors, or the matrix itself where that is the smaller of the two."""


def stack(terms: Iterable[tuple[Pair, float]]) -> Product:
    """Return sum_k w_k s_k B_k A_k for (pair, weight) terms; its rank is the sum of theirs."""
    pairs = [(pair, weight * pair.scale) for pair, weight in terms]
    a = [np.multiply(pair.a, factor, dtype=np.float64) for pair, factor in pairs]
    b = [pair.b for pair, _ in pairs]
    return Product(np.concatenate(a), np.concatenate(b, axis=1, dtype=np.float64))


def product_of(pair: Pair) -> Product:
    """Return s B A of one pair."""
    return stack([(pair, 1.0)])


def dense(delta: Delta) -> Dense:
    """Return the whole matrix, shape (d_out, d_in)."""
    return delta.b @ delta.a if isinstance(delta, Product) else delta


def times(delta: Delta, right: Matrix) -> Dense:
    """Return ``delta @ right``, right of shape (d_in, n)."""
    if isinstance(delta, Product):
        found: Dense = delta.b @ (delta.a @ right)
        return found
    found = delta @ right
    return found


def transposed(delta: Delta) -> Delta:
    """Return the transpose, a view."""
    return Product(delta.b.T, delta.a.T) if isinstance(delta, Product) else delta.T


def plus(left: Delta, right: Delta) -> Delta:
    """Return ``left + right``; factors where both are."""
    if isinstance(left, Product) and isinstance(right, Product):
        return Product(np.concatenate([left.a, right.a]), np.concatenate([left.b, right.b], axis=1))
    return dense(left) + dense(right)


def minus(left: Delta, right: Delta) -> Delta:
    """Return ``left - right``; factors where both are."""
    return plus(left, Product(right.a, -right.b) if isinstance(right, Product) else -right)


def inner(left: Delta, right: Delta) -> float:
    """Return the Frobenius inner product <left, right>."""
    if isinstance(left, Product) and isinstance(right, Product):
        return float(np.vdot(left.b.T @ right.b, left.a @ right.a.T))
    return float(np.vdot(dense(left), dense(right)))


def norm(delta: Delta) -> float:
    """Return the Frobenius norm, good to about 1e-8 of itself, or 1e-16 of the factors' norms."""
    if not isinstance(delta, Product):
        return float(np.linalg.norm(delta))
    of_a, of_b = delta.a @ delta.a.T, delta.b.T @ delta.b
    square = float(np.vdot(of_b, of_a))
    if square > _CANCELLED * float(np.linalg.norm(of_a) * np.linalg.norm(of_b)):
        return float(np.sqrt(square))
    return float(np.linalg.norm(triangle(delta.b) @ triangle(delta.a.T).T))


def triangle(matrix: Dense) -> Dense:
    """Return R of the matrix's QR decomposition, shape (min(m, n), n)."""
    return np.asarray(np.linalg.qr(matrix, mode="r"))


class LayerSum:
    """Running sum of w s B A over one layer's pairs, exact, of bounded memory.

    Factors are kept while their stacked rank is below min(d_out, d_in) / 2: up to there they are
    the smaller form. Beyond, one dense float64 matrix is.
    """

    def __init__(self, d_out: int, d_in: int) -> None:
        self._shape = d_out, d_in
        self._terms: list[tuple[Pair, float]] = []
        self._rank = 0
        self._dense: Dense | None = None

    def add(self, pair: Pair, weight: float) -> None:
        """Add one client's pair; its arrays are kept, not copied, and must not change."""
        self._terms.append((pair, weight))
        self._rank += pair.rank
        if 2 * self._rank >= min(self._shape):
            self._fold()

    def merge(self, other: LayerSum) -> None:
        """Add another sum."""
        for pair, weight in other._terms:
            self.add(pair, weight)
        if other._dense is not None:
            self._dense = other._dense if self._dense is None else self._dense + other._dense

    def total(self, weight: float) -> Delta:
        """Return the sum divided by `weight`."""
        if self._dense is None and self._terms:
            return stack((pair, share / weight) for pair, share in self._terms)
        self._fold()
        return np.zeros(self._shape) if self._dense is None else self._dense / weight

    def _fold(self) -> None:
        if self._terms:
            part = dense(stack(self._terms))
            self._dense = part if self._dense is None else np.add(self._dense, part, self._dense)
        self._terms, self._rank = [], 0


class ProductMean:
    """Running weighted mean of the products of whole adapters: sum_k w_k s_k B_k A_k / sum_k w_k.

    Clients may differ in rank and scale, not in layers.

    Parameters
    ----------
    schema : Schema
        Of any of the adapters.
    """

    def __init__(self, schema: Schema) -> None:
        self._layouts = {schema.hash: Layout.of(schema)}
        self._sums = {
            place.layer: LayerSum(place.d_out, place.d_in)
            for place in self._layouts[schema.hash].places
        }
        self.weight = 0.0

    def add(self, arrays: NamedArrays, weight: float) -> None:
        """Add one client's adapter with a weight >= 0; it is kept by reference.

        Raises
        ------
        ModelError
            It has other layers.
        """
        layout = self._layouts.get(arrays.schema.hash)
        if layout is None:
            layout = self._layouts[arrays.schema.hash] = Layout.of(arrays.schema)
            layers = {place.layer for place in layout.places}
            if layers != self._sums.keys():
                odd = sorted(layers ^ self._sums.keys())[0]
                raise ModelError(f"adapters of different layers: only some have '{odd}'")
        for pair in layout.pairs(arrays):
            self._sums[pair.layer].add(pair, weight)
        self.weight += weight

    def merge(self, other: ProductMean) -> None:
        """Add another stream's sum."""
        self._layouts |= other._layouts
        for layer, found in other._sums.items():
            self._sums[layer].merge(found)
        self.weight += other.weight

    def deltas(self) -> Iterator[tuple[str, Delta]]:
        """Give each layer and its mean, made one at a time; nothing while the weights sum to 0."""
        if self.weight > 0:
            for layer, found in self._sums.items():
                yield layer, found.total(self.weight)


def deltas_of(arrays: NamedArrays) -> Mapping[str, Delta]:
    """Return s B A of every layer of one adapter."""
    return {pair.layer: product_of(pair) for pair in Layout.of(arrays.schema).pairs(arrays)}
