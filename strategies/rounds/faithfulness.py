"""The aggregation error: how far a round's adapter is from the exact mean of the clients' products.

Measured for every method that sets out to average LoRA adapters, with the method's own weights.
"""

from __future__ import annotations

from models.lora.pairs import Layout
from models.schema import NamedArrays
from strategies.aggregation.lora.error import aggregation_error
from strategies.aggregation.lora.product import ProductMean, deltas_of, plus
from strategies.hooks import Hooks
from strategies.rounds.context import RoundContext, Update

_MOST_BYTES = 256 << 20
"""Beyond, the exact mean takes more memory than the figure is worth."""


class ExactMean:
    """One stream's exact mean of products; nothing where a method does not average adapters."""

    def __init__(self, strategy: Hooks, context: RoundContext) -> None:
        self._strategy = strategy
        self._context = context
        self._mean: ProductMean | None = None
        self._off = False

    def add(self, update: Update) -> None:
        """Add the adapter that an update stands for."""
        counted = None if self._off else self._strategy.counted(update, self._context)
        if counted is None:
            self._off = True
            return
        arrays, weight = counted
        if self._mean is None:
            if not _worth_it(arrays, len(self._context.available)):
                self._off = True
                return
            self._mean = ProductMean(arrays.schema)
        self._mean.add(arrays, weight)

    def merge(self, other: ExactMean) -> None:
        """Add another stream."""
        self._off |= other._off
        if self._mean is None or other._mean is None:
            self._mean = self._mean or other._mean
        else:
            self._mean.merge(other._mean)

    def figures(self) -> dict[str, float]:
        """Compare with what the strategy made of it: in total, and for each layer."""
        if self._off or self._mean is None or self._mean.weight <= 0:
            return {}
        made = dict(deltas_of(self._strategy.model))
        for layer, merged in self._strategy.merged.items():
            made[layer] = plus(made[layer], merged)
        error = aggregation_error(self._mean.deltas(), made)
        layers = {f"aggregation_error/{layer}": value for layer, value in error.layers.items()}
        return {"aggregation_error": error.total, **layers}


def _worth_it(arrays: NamedArrays, clients: int) -> bool:
    """Say whether there are factors, and the exact mean fits into memory."""
    if not arrays.schema.facts.get("rank"):
        return False
    places = Layout.of(arrays.schema).places
    square = sum(8 * place.d_out * place.d_in for place in places)
    return bool(places) and min(square, clients * arrays.vector.nbytes) <= _MOST_BYTES
