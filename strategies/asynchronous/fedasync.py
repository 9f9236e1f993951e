"""FedAsync: Xie et al., "Asynchronous Federated Optimization", 2019,
https://arxiv.org/abs/1903.03934

Every update is mixed into the model as it comes, the less the older its start is:

    w <- (1 - alpha_t) w + alpha_t w_i,   alpha_t = alpha s(u)

u is the number of aggregations since the client's download, s(u) constant, polynomial or hinge
(`strategies.aggregation.asynchronous.staleness`). Clients minimise F_i(w) + rho/2 ||w - w_sent||^2;
for rho > 0 that is cross-entropy with the pull, whatever the run's objective is.

Where several updates come at the same moment, or another closing rule collects them, w goes along
the mean of the steps that each would take by itself.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from strategies import base
from strategies.asynchronous.stepping import StalenessOptions, Stepping, Steps
from strategies.rounds.context import Instruction, RoundContext, Update
from strategies.stale.blending import Float64


class FedAsyncOptions(StalenessOptions):
    """Options of `FedAsync`; letters as in the paper."""

    alpha: Annotated[float, Field(gt=0, le=1, description="weight of a fresh update")] = 0.6
    rho: Annotated[float, Field(ge=0, description="pull of a client towards what it was sent")] = (
        0.0
    )


class FedAsync(Stepping):
    """Each update mixed into the model, by its age."""

    about: ClassVar[str] = "mixes each update into the model as it comes, the less the older it is"
    closing: ClassVar[str] = "each"
    tells_clients: ClassVar[bool] = True
    Options: ClassVar[type[base.Options]] = FedAsyncOptions
    options: FedAsyncOptions

    def instruct(self, client: str, context: RoundContext) -> Instruction:
        """Ask for the proximal term, where there is one."""
        told = super().instruct(client, context)
        if not self.options.rho:
            return told
        return told.also({"objective": "fedprox", "objective.mu": self.options.rho})

    def delta(self, update: Update) -> Float64:
        """Return w - w_i: the model is mixed with the client's, not stepped along its change."""
        mixed: Float64 = self.arrays.vector.astype(np.float64) - update.arrays.vector
        return mixed

    def coefficient(self, update: Update, context: RoundContext) -> float:
        """Return alpha_t."""
        return self.options.alpha * self.options.s(update.staleness)

    def taken(self, steps: Steps, context: RoundContext) -> Float64:
        """Return alpha_t (w - w_i), or the mean of them."""
        return steps.total / len(steps.seconds)
