"""FedFix: Fraboni et al., "A General Theory for Federated Optimization with Asynchronous and
Heterogeneous Clients Updates", JMLR 2023, https://arxiv.org/abs/2206.10189

The server aggregates every Delta_t seconds whatever has come, with weights under which the fast
do not pull the optimum their way:

    Delta_i = w_sent,i - w_i,   w <- w - eta sum_{i arrived} d_i Delta_i
    d_i = ceil(tau_i / Delta_t) p_i

tau_i is the client's duration and p_i its importance. A client that is sent a model at one
aggregation is back for the ceil(tau_i / Delta_t)-th after it, so that number is counted: it is one
more than the update's staleness. That makes the weights right for durations that change, and under
every closing rule: one update stands for all rounds that it took.

``weights='asynchronous'`` takes the general theory's d_i = (sum_j 1/tau_j) tau_i p_i / c instead,
for c updates a round, tau_i the mean of what was measured. Both take it that everybody trains all
the time (``closing-args = 'concurrency=0'``, all clients).
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from models.schema import NamedArrays
from strategies import base
from strategies.aggregation.asynchronous.unbiased import asynchronous_weight, interval_weight
from strategies.asynchronous.durations import Durations
from strategies.asynchronous.stepping import Stepping, Steps, WeightingOptions
from strategies.rounds.context import RoundContext, Update
from strategies.stale.blending import Float64


class FedFixOptions(WeightingOptions):
    """Options of `FedFix`."""

    weighting: Annotated[
        Literal["uniform", "examples"],
        Field(description="p_i: clients count alike, or by their examples"),
    ] = "examples"
    learning_rate: Annotated[float, Field(gt=0, description="eta")] = 1.0
    weights: Annotated[
        Literal["interval", "asynchronous"],
        Field(description="d_i by the rounds that an update took, or by measured durations"),
    ] = "interval"


class FedFix(Stepping):
    """What came in an interval, weighted by how rarely it comes."""

    about: ClassVar[str] = "aggregates at fixed intervals, with weights that keep the optimum"
    closing: ClassVar[str] = "interval"
    Options: ClassVar[type[base.Options]] = FedFixOptions
    options: FedFixOptions

    def initialise(self, arrays: NamedArrays) -> None:
        """Start without durations."""
        super().initialise(arrays)
        self.durations = Durations()

    def coefficient(self, update: Update, context: RoundContext) -> float:
        """Return d_i; of asynchronous weights c d_i."""
        p = self.options.p(update, context)
        if self.options.weights == "interval":
            return interval_weight(update.staleness + 1, 1, p)
        tau = self.durations.of(update.client) or update.seconds
        rate = self.durations.rate(context.shares.clients)
        # Before anything was measured everybody is as fast as everybody else.
        return asynchronous_weight(tau, rate, p) if rate else p * context.shares.clients

    def taken(self, steps: Steps, context: RoundContext) -> Float64:
        """Return eta sum d_i Delta_i."""
        c = 1 if self.options.weights == "interval" else len(steps.seconds)
        self.durations.took(steps.seconds)
        return self.options.learning_rate / c * steps.total

    def forget(self, client: str, server_round: int) -> None:
        """Let go of a client's durations."""
        super().forget(client, server_round)
        self.durations.forget(client)

    def state(self) -> base.State:
        """Return the durations beside the rest."""
        return self.durations.state().nested("durations") | super().state()

    def restore(self, state: base.State) -> None:
        """Take them back."""
        self.durations.restore(state.under("durations"))
        super().restore(state)
