"""A wrapper that computes the step itself and hands it to the rule inside as one update.

That is exact for every rule that gives a single update back unchanged, which all weighted means
do: the rule inside receives w^t - Delta^t and makes it, or what a server optimiser makes of it,
the next model.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from models.errors import ConfigurationError
from models.schema import NamedArrays
from strategies import base
from strategies.fedavg import FedAvg
from strategies.rounds.context import RoundContext, Update

Float64 = npt.NDArray[np.float64]


def change(model: NamedArrays, update: Update) -> Float64:
    """Return w_sent,i - w_i, shape (size,): what a client changed since its download.

    Parameters
    ----------
    model : NamedArrays
        What everybody was sent who was not sent anything else.
    update : Update
    """
    start, schema = update.start or model, update.arrays.schema
    if start.schema != schema:
        start = start.only(schema)
    difference: Float64 = start.vector.astype(np.float64) - update.arrays.vector
    return difference


class Blending(base.Wrapper):
    """Base of methods that weigh updates in a way of their own."""

    default_inner: ClassVar[type[base.Strategy] | None] = FedAvg

    def __init__(self, inner: base.Strategy | None = None, **options: Any) -> None:
        super().__init__(inner, **options)
        if not self.inner.is_affine:
            raise ConfigurationError(
                f"strategy: {type(self).__name__} blends updates, and {self.inner.describe()} does "
                "not give a single update back as it is; put a weighted mean inside"
            )
        for layer in base.layers(self.inner):
            if isinstance(layer, Blending):
                raise ConfigurationError(
                    f"strategy: {type(self).__name__} and {type(layer).__name__} both blend "
                    f"updates, and {type(layer).__name__} inside would see one in each round, of "
                    "no client; take one of the two"
                )

    def delta(self, update: Update) -> Float64:
        """Return Delta_i = w^t - w_i, shape (size,)."""
        return self.arrays.vector.astype(np.float64) - update.arrays.vector

    def step(self, delta: Float64, context: RoundContext) -> None:
        """Let the rule inside go from w^t to w^t - Delta^t."""
        arrays = self.arrays.replace(self.arrays.vector.astype(np.float64) - delta)
        inside = self.inner.begin(context)
        inside.add(Update("@blend", arrays, 1, base_round=context.round))
        self.inner.conclude(inside, context)
