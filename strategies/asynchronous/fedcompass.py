"""FedCompass: Li et al., "FedCompass: Efficient Cross-Silo Federated Learning on Heterogeneous
Client Devices using a Computing Power Aware Scheduler", ICLR 2024,
https://arxiv.org/abs/2309.14675

The server learns how fast each client is and gives it as many local steps as bring it back together
with others (`strategies.aggregation.asynchronous.groups`). A group is aggregated when all of it has
arrived, or at its latest time:

    Delta_i = w_sent,i - w_i,   w <- w - alpha sum_{i in group} s(u_i) p_i Delta_i

p_i = 1/N, or client i's share of all examples; u_i is the number of aggregations since its
download, s(u) = (1 + u)^(-a): the exponent is negative, while with the sign in the official code
older updates count more. A client's first update is aggregated by itself, as its speed is not
known before.

Two things are simpler than in the official code: a late update is aggregated when it comes, not
with the next group, so that its client does not wait; and u_i is counted when the update is
aggregated, not when it arrives.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, model_validator

from strategies import base
from strategies.aggregation.asynchronous.groups import ArrivalGroups
from strategies.asynchronous.stepping import StalenessOptions, Stepping, Steps, WeightingOptions
from strategies.rounds.context import Instruction, RoundContext, Update
from strategies.stale.blending import Float64


class FedCompassOptions(StalenessOptions, WeightingOptions):
    """Options of `FedCompass`; letters as in the paper."""

    alpha: Annotated[float, Field(gt=0, le=1, description="weight of a fresh update")] = 0.9
    q_min: Annotated[int, Field(ge=1, description="fewest local steps")] = 20
    q_max: Annotated[int, Field(ge=1, description="most local steps")] = 100
    patience: Annotated[
        float,
        Field(ge=1, alias="lambda", description="latest time of a group, in its expected duration"),
    ] = 1.5

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.q_min > self.q_max:
            raise ValueError(f"q-min = {self.q_min} is above q-max = {self.q_max}")
        return self


class FedCompass(Stepping):
    """Local steps by speed, so that clients arrive in groups."""

    about: ClassVar[str] = "local steps by each client's speed, so that they arrive in groups"
    closing: ClassVar[str] = "planned"
    tells_clients: ClassVar[bool] = True
    Options: ClassVar[type[base.Options]] = FedCompassOptions
    options: FedCompassOptions

    def __init__(self, inner: base.Strategy | None = None, **options: Any) -> None:
        super().__init__(inner, **options)
        said = self.options
        self.groups = ArrivalGroups(said.q_min, said.q_max, said.patience)

    @property
    def plan(self) -> ArrivalGroups:
        """Who is expected when."""
        return self.groups

    def sample(self, context: RoundContext) -> Sequence[str]:
        """Take those whom the rule inside takes, and give them steps and groups, fastest first."""
        chosen = super().sample(context)
        speeds = self.groups.speeds
        for client in sorted(chosen, key=lambda c: speeds.get(c, float("inf"))):
            self.groups.assign(client, context.now)
        return chosen

    def instruct(self, client: str, context: RoundContext) -> Instruction:
        """Say how many steps."""
        steps = self.groups.steps.get(client, self.options.q_max)
        return super().instruct(client, context).also({"local-steps": steps})

    def coefficient(self, update: Update, context: RoundContext) -> float:
        """Return alpha s(u_i) p_i."""
        options = self.options
        return options.alpha * options.s(update.staleness) * options.p(update, context)

    def taken(self, steps: Steps, context: RoundContext) -> Float64:
        """Return the sum."""
        return steps.total

    def conclude(self, aggregation: Any, context: RoundContext) -> None:
        """Take the step; learn the speeds, and close the groups of those who were aggregated."""
        super().conclude(aggregation, context)
        for client, seconds in aggregation.seconds.items():
            self.groups.timed(client, seconds)
        self.groups.aggregated(aggregation.seconds)

    def forget(self, client: str, server_round: int) -> None:
        """Let go of a client's speed and place."""
        super().forget(client, server_round)
        self.groups.forget(client)

    def state(self) -> base.State:
        """Return speeds and groups beside the rest."""
        return base.State({}, {"groups": self.groups.to_json()}) | super().state()

    def restore(self, state: base.State) -> None:
        """Take them back."""
        self.groups.read(str(state.values["groups"]))
        super().restore(state)
