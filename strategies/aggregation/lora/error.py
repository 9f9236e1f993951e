"""How far an aggregated adapter is from the exact weighted mean of its clients' products.

||D - D*||_F / ||D*||_F with D* = sum_k p_k s_k B_k A_k and D what the method made, per layer and
over all layers together; through the factors.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from strategies.aggregation.lora.product import Delta, minus, norm


@dataclass(frozen=True)
class AggregationError:
    """Relative Frobenius errors; infinite where the exact mean is zero and the result is not.

    Attributes
    ----------
    layers : mapping
        By layer.
    total : float
        Of all layers as one matrix.
    """

    layers: Mapping[str, float]
    total: float


def aggregation_error(
    exact: Iterable[tuple[str, Delta]], made: Mapping[str, Delta]
) -> AggregationError:
    """Compare layer by layer; one layer of `exact` is held at a time.

    Parameters
    ----------
    exact : iterable of (layer, delta)
        What `ProductMean.deltas` gives.
    made : mapping
        What the method made of each of these layers: `deltas_of` its adapter, plus what it added
        to the base.
    """
    layers: dict[str, float] = {}
    off, size = 0.0, 0.0
    for layer, target in exact:
        distance, length = norm(minus(made[layer], target)), norm(target)
        layers[layer] = _relative(distance, length)
        off, size = math.hypot(off, distance), math.hypot(size, length)
    return AggregationError(layers, _relative(off, size))


def _relative(distance: float, length: float) -> float:
    if length > 0:
        return distance / length
    return math.inf if distance > 0 else 0.0
