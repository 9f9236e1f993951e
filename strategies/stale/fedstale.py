"""FedStale: Rodio and Neglia, "FedStale: leveraging stale client updates in federated learning",
ECAI 2024, https://arxiv.org/abs/2405.04171

Beside the fresh updates Delta_i of those who take part, the server uses the remembered ones h_i of
those who do not, with a weight beta between FedAvg with inverse-probability weights (beta = 0) and
FedVARP, generalised to unequal participation (beta = 1). The step is equation (1) of the paper, in
`strategies.stale.generalised`; w^{t+1} = w^t - Delta^t, then h_i <- Delta_i for i in S.

``beta='auto'`` is ours. For independent participation the step's variance is least at

    beta* = sum_i alpha_i^2 (1-p_i)/p_i <Delta_i, h_i> / sum_i alpha_i^2 (1-p_i)/p_i ||h_i||^2

Both sums are estimated from the participants, each weighted by 1/p_i, and smoothed over rounds;
their quotient is clipped to [0, 1], and beta is 0 while the denominator is 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from models.schema import NamedArrays, Vector
from strategies import base
from strategies.rounds.context import RoundContext, Update
from strategies.stale.blending import Float64
from strategies.stale.generalised import Generalised, GeneralisedOptions
from strategies.stale.remembering import Blend


class FedStaleOptions(GeneralisedOptions):
    """Options of `FedStale`; letters as in the paper."""

    beta: Annotated[
        Annotated[float, Field(ge=0, le=1)] | Literal["auto"],
        Field(description="weight of remembered updates; 'auto' estimates the best one"),
    ] = 0.5
    smoothing: Annotated[
        float, Field(ge=0, lt=1, description="of beta='auto': weight of the rounds before")
    ] = 0.9


class FedStale(Generalised):
    """Remembered updates, with weight beta, beside the fresh ones."""

    about: ClassVar[str] = "blends remembered updates of absent clients with weight beta"
    Options: ClassVar[type[base.Options]] = FedStaleOptions
    options: FedStaleOptions

    def initialise(self, arrays: NamedArrays) -> None:
        """Start with no knowledge of beta*."""
        super().initialise(arrays)
        self._products = np.zeros(2)  # numerator and denominator of beta*, smoothed
        self._beta = 0.0

    def scalars(
        self, update: Update, context: RoundContext, delta: Float64, remembered: Vector
    ) -> Sequence[float]:
        """Return the participant's part of numerator and denominator, but for (sum_j n_j)^2."""
        if self.options.beta != "auto":
            return (0.0, 0.0)
        p, n = self.probability(update.client, context), self.weight(update, context)
        known = remembered.astype(np.float64)
        factor = n**2 * (1 - p) / p / p  # the second p: only participants are seen
        return (factor * float(delta @ known), factor * float(known @ known))

    def choose_beta(self, blend: Blend, examples: float) -> float:
        """Return the option, or this round's estimate of beta*."""
        if self.options.beta != "auto":
            self._beta = self.options.beta
            return self._beta
        kept = self.options.smoothing
        self._products = kept * self._products + (1 - kept) * blend.moments / examples**2
        product, square = self._products
        self._beta = float(np.clip(product / square, 0, 1)) if square > 0 else 0.0
        return self._beta

    def figures(self) -> Mapping[str, float]:
        """Return the round's beta beside the inner figures."""
        return {**super().figures(), "beta": self._beta}

    def state(self) -> base.State:
        """Return what is remembered, and what is known of beta*."""
        return base.State({"products": self._products}) | super().state()

    def restore(self, state: base.State) -> None:
        """Take both back."""
        self._products = state.arrays["products"].astype(np.float64)
        super().restore(state)
