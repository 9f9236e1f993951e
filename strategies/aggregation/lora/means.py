"""Separate means of A and of B.

FedIT (Zhang et al. 2024, https://arxiv.org/abs/2305.05644): A = sum_k p_k A_k, B = sum_k p_k B_k.
HetLoRA (Cho et al. 2024, https://arxiv.org/abs/2401.06432): pairs are zero-padded to the largest
rank, and p_k = ||S_k||_F / sum_j ||S_j||_F with S_k = s_k B_k A_k. Rows that few clients hold are
divided by the weight of all: so the method is published.

Where clients differ in scale, each is first restated for the scale s of the mean: s_k B_k A_k =
s (s_k/s B_k) A_k. The ratio goes into B, so that an A which all clients share stays as it is
(FFA-LoRA); where it is B that is shared, it goes into A (RoLoRA's other half).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from models.errors import ModelError
from models.lora.pairs import Layout, Letter, Pair, PairPlace
from models.schema import NamedArrays, Schema
from strategies.aggregation.blocks import add_scaled, divided
from strategies.aggregation.lora.product import norm, product_of

# A client whose product is zero has no say, unless all are zero: then they have the same.
_LEAST_NORM = 1e-30


def norm_weights(arrays: NamedArrays) -> list[float]:
    """Return HetLoRA's ||s B A||_F of each pair of one adapter, in schema order; above 0.

    To about 1e-6, in the adapter's own precision where factors do not cancel.
    """
    return [max(_norm(pair), _LEAST_NORM) for pair in Layout.of(arrays.schema).pairs(arrays)]


def _norm(pair: Pair) -> float:
    of_a, of_b = pair.a @ pair.a.T, pair.b.T @ pair.b
    square = float(np.vdot(of_a, of_b))
    if square > 0.1 * float(np.linalg.norm(of_a)) * float(np.linalg.norm(of_b)):
        return pair.scale * math.sqrt(square)
    return norm(product_of(pair))


class FactorMean:
    """Running weighted means of A, of B and of the rest, over adapters of any rank.

    Sums are float64; memory does not grow with the number of clients.

    Parameters
    ----------
    schema : Schema
        Of the mean: its ranks are the largest, and its scale is the one that counts.
    ratio_into : {"B", "A"}
        The factor that takes the ratio of scales.
    """

    def __init__(self, schema: Schema, ratio_into: Letter = "B") -> None:
        self._target = Layout.of(schema)
        self._ratio_into = ratio_into
        self._sources = {schema.hash: self._target}
        self.total = np.zeros(schema.size)
        self.weight = 0.0
        self.pair_weights = np.zeros(len(self._target.places))

    def add(
        self, arrays: NamedArrays, weight: float, pair_weights: Sequence[float] | None = None
    ) -> None:
        """Add one client's adapter.

        Parameters
        ----------
        arrays : NamedArrays
            Of the same layers and rest, and of no larger rank.
        weight : float
            At least 0; such as the number of examples.
        pair_weights : sequence of float, optional
            A weight for each pair instead, in schema order; `weight` is then the rest's alone.

        Raises
        ------
        ModelError
            Other layers, a larger rank, or another rest.
        """
        source = self._source(arrays.schema)
        shares = [weight] * len(source.places) if pair_weights is None else list(pair_weights)
        factors = dict.fromkeys(source.rest.slices, weight)
        for place, target, share in zip(source.places, self._target.places, shares, strict=True):
            ratio = place.scale / target.scale
            factors[place.a_key] = share * (ratio if self._ratio_into == "A" else 1.0)
            factors[place.b_key] = share * (ratio if self._ratio_into == "B" else 1.0)
        if source.schema.slices == self._target.schema.slices:
            for span, factor in _runs(source.schema, factors):
                add_scaled(self.total[span], arrays.vector[span], factor)
        else:
            for key, factor in factors.items():
                self._add(key, arrays[key], factor)
        self.pair_weights += shares
        self.weight += weight

    def merge(self, other: FactorMean) -> None:
        """Add another stream's sums."""
        self.total += other.total
        self.pair_weights += other.pair_weights
        self.weight += other.weight

    def result(self) -> NamedArrays | None:
        """Return the means in the schema's dtype, or None while some weights sum to zero.

        An adapter without a rest needs weights for its pairs alone, one without pairs for its
        rest alone.
        """
        schema = self._target.schema
        divisors = dict.fromkeys(self._target.rest.slices, self.weight)
        for place, weight in zip(self._target.places, self.pair_weights, strict=True):
            divisors[place.a_key] = divisors[place.b_key] = float(weight)
        if not divisors or min(divisors.values()) <= 0:
            return None
        vector = np.empty(schema.size, dtype=schema.dtype)
        for span, divisor in _runs(schema, divisors):
            divided(self.total[span], divisor, vector[span])
        return NamedArrays(schema, vector)

    def _source(self, schema: Schema) -> Layout:
        known = self._sources.get(schema.hash)
        if known is None:
            known = Layout.of(schema)
            _check(known, self._target)
            self._sources[schema.hash] = known
        return known

    def _add(self, key: str, array: npt.NDArray[np.floating], weight: float) -> None:
        span, shape = self._target.schema.slices[key]
        into = self.total[span]
        if array.shape[1:] == shape[1:]:
            add_scaled(into[: array.size], array.reshape(-1), weight)
        else:
            columns = array.shape[1]
            into.reshape(shape[0], shape[1])[:, :columns] += np.multiply(
                array.reshape(shape[0], columns), weight, dtype=np.float64
            )


def _runs(schema: Schema, numbers: Mapping[str, float]) -> Iterator[tuple[slice, float]]:
    """Give stretches of the flat vector whose arrays have the same number."""
    start, end, current = 0, 0, math.nan
    for key, (span, _) in schema.slices.items():
        if numbers[key] != current:
            if end > start:
                yield slice(start, end), current
            start, current = span.start, numbers[key]
        end = span.stop
    if end > start:
        yield slice(start, end), current


def _check(found: Layout, target: Layout) -> None:
    if len(found.places) != len(target.places) or found.rest.arrays != target.rest.arrays:
        difference = "; ".join(target.schema.differences(found.schema))
        raise ModelError(f"adapters of different arrays have no mean: {difference}")
    for one, other in zip(found.places, target.places, strict=True):
        if _size(one) != _size(other):
            raise ModelError(
                f"layer '{one.layer}' of {one.d_out} x {one.d_in} does not fit "
                f"'{other.layer}' of {other.d_out} x {other.d_in}"
            )
        if one.rank > other.rank:
            raise ModelError(
                f"layer '{one.layer}' has rank {one.rank}, but the mean has room for {other.rank}; "
                "open it with the schema of the largest rank"
            )


def _size(place: PairPlace) -> tuple[str, int, int]:
    return place.layer, place.d_out, place.d_in
