"""FedOpt: Reddi et al., "Adaptive Federated Optimization", ICLR 2021,
https://arxiv.org/abs/2003.00295 (FedAdam, FedYogi, FedAdagrad); with ``sgd`` FedAvgM, Hsu et al.
2019, https://arxiv.org/abs/1909.06335

Around any rule that gives a global model: the step from the old model x_t to the aggregated one,
Delta_t, is taken as a gradient by an optimiser on the server. The equations are in
`strategies.aggregation.server_optimizer`.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from models.schema import NamedArrays
from strategies import base
from strategies.aggregation.server_optimizer import Moments, server_step
from strategies.fedavg import FedAvg
from strategies.rounds.context import RoundContext

_RATE = {"sgd": 1.0, "adam": 0.01, "yogi": 0.01, "adagrad": 0.01}


class FedOptOptions(base.Options):
    """Options of `FedOpt`; letters as in the paper."""

    optimizer: Annotated[
        Literal["sgd", "adam", "yogi", "adagrad"], Field(description="server optimiser")
    ] = "adam"
    learning_rate: Annotated[float, Field(ge=0, description="eta; 0 = 1.0 for sgd, else 0.01")] = (
        0.0
    )
    beta_1: Annotated[float, Field(ge=0, lt=1, description="momentum")] = 0.9
    beta_2: Annotated[float, Field(ge=0, lt=1, description="decay of v")] = 0.99
    tau: Annotated[float, Field(gt=0, description="degree of adaptivity")] = 1e-3


class FedOpt(base.Wrapper):
    """A server optimiser around another strategy."""

    about: ClassVar[str] = "server optimiser (sgd, adam, yogi, adagrad) around any rule"
    tells_clients: ClassVar[bool] = False
    default_inner: ClassVar[type[base.Strategy] | None] = FedAvg
    Options: ClassVar[type[base.Options]] = FedOptOptions
    options: FedOptOptions

    def initialise(self, arrays: NamedArrays) -> None:
        """Start from zero moments."""
        super().initialise(arrays)
        self.moments = Moments.start(self.arrays.schema.size, self.options.tau)

    def conclude(self, aggregation: Any, context: RoundContext) -> None:
        """Step along Delta_t = aggregated - old instead of taking the aggregated model."""
        before = self.inner.arrays
        self.inner.conclude(aggregation, context)
        options = self.options
        stepped, self.moments = server_step(
            before.vector,
            self.inner.arrays.vector,
            self.moments,
            options.optimizer,
            learning_rate=options.learning_rate or _RATE[options.optimizer],
            beta_1=options.beta_1,
            beta_2=options.beta_2,
            tau=options.tau,
        )
        self.inner.arrays = before.replace(stepped)

    def state(self) -> base.State:
        """Return the inner state and both moments."""
        own = base.State({"first": self.moments.first, "second": self.moments.second})
        return own | super().state()

    def restore(self, state: base.State) -> None:
        """Take both moments and the inner state back."""
        first, second = (state.arrays[k].astype(np.float64) for k in ("first", "second"))
        self.moments = Moments(first, second)
        super().restore(state)
