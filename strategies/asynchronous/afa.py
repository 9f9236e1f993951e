"""AFA: Yang et al., "Anarchic Federated Learning", ICML 2022, https://arxiv.org/abs/2108.09875

Clients come when they like and take as many local steps K_i as they like; what they return is their
mean step, so that the eager do not count more:

    G_i = (w_sent,i - w_i) / K_i
    AFA-CD:  w <- w - eta 1/m sum_{i in S} G_i           the m updates that came (cross-device)
    AFA-CS:  G_i is kept for i in S, then
             w <- w - eta 1/M sum_{all i} G_i            everybody's last one, of M (cross-silo)

In the paper G_i is a mean gradient and local and server rate are apart; here G_i holds the local
rate. With ``learning-rate=0`` eta is m / sum_{i in S} 1/K_i, the harmonic mean of the steps taken,
so that clients of equal K give FedAvg's mean. K_i is what a client says that it took
(`clients.trainers.free_steps`); one that says nothing has K_i = 1. Where ``max-steps`` is given, a
draw from the client's own generator stands in for what it likes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from models.randomness import derive_generator
from strategies import base
from strategies.asynchronous.stepping import Stepping, Steps
from strategies.rounds.context import Instruction, RoundContext, Scalar, Update
from strategies.stale.blending import Float64, change
from strategies.stale.remembering import Blend, Remembering, RememberingOptions


class AFAOptions(base.Options):
    """Options of `AFA`."""

    learning_rate: Annotated[
        float, Field(ge=0, description="eta; 0 = the harmonic mean of the steps taken")
    ] = 0.0
    min_steps: Annotated[int, Field(ge=1, description="fewest local steps that a client takes")] = 1
    max_steps: Annotated[
        int, Field(ge=0, description="most local steps; 0 = as the settings say")
    ] = 0

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.max_steps and self.min_steps > self.max_steps:
            raise ValueError(f"min-steps = {self.min_steps} is above max-steps = {self.max_steps}")
        return self

    def told(self, client: str, context: RoundContext) -> Mapping[str, Scalar]:
        """Return the client half, and how many steps the client likes to take."""
        if not self.max_steps:
            return {"around": "free-steps"}
        generator = derive_generator(context.seed, context.round, client, "free-steps")
        steps = int(generator.integers(self.min_steps, self.max_steps + 1))
        return {"around": "free-steps", "local-steps": steps}


def weight_of(update: Update) -> float:
    """Return 1/K_i, in (0, 1]."""
    return 1.0 / max(1.0, update.metrics.get("local_steps", 1.0))


class AFA(Stepping):
    """AFA-CD: the mean of the mean steps that came."""

    about: ClassVar[str] = "clients come and work as they like; their mean steps are averaged"
    keeps_state: ClassVar[bool] = True
    tells_clients: ClassVar[bool] = True
    Options: ClassVar[type[base.Options]] = AFAOptions
    options: AFAOptions

    def instruct(self, client: str, context: RoundContext) -> Instruction:
        """Leave the number of steps to the client."""
        return super().instruct(client, context).also(self.options.told(client, context))

    def coefficient(self, update: Update, context: RoundContext) -> float:
        """Return 1/K_i."""
        return weight_of(update)

    def taken(self, steps: Steps, context: RoundContext) -> Float64:
        """Return eta/m sum G_i."""
        m = len(steps.seconds)
        eta = self.options.learning_rate or m / steps.weight
        return eta / m * steps.total


class AFACSOptions(AFAOptions, RememberingOptions):
    """Options of `AFACS`."""


class AFACS(Remembering):
    """AFA-CS: the mean of everybody's last mean step."""

    about: ClassVar[str] = "as afa, along the mean of everybody's last step"
    keeps_state: ClassVar[bool] = True
    closing: ClassVar[str] = "buffer"
    reads_start: ClassVar[bool] = True
    Options: ClassVar[type[base.Options]] = AFACSOptions
    options: AFACSOptions

    @property
    def is_affine(self) -> bool:
        """No: a single update counts as one of M."""
        return False

    def instruct(self, client: str, context: RoundContext) -> Instruction:
        """Leave the number of steps to the client."""
        return super().instruct(client, context).also(self.options.told(client, context))

    def delta(self, update: Update) -> Float64:
        """Return w_sent,i - w_i."""
        return change(self.arrays, update)

    def weight(self, update: Update, context: RoundContext) -> float:
        """Return 1/K_i, the weight of what is remembered."""
        return weight_of(update)

    def coefficient(self, update: Update, context: RoundContext) -> float:
        """Return 0: an update counts through the memory that it refreshes."""
        return 0.0

    def blend(self, blend: Blend, context: RoundContext) -> Float64:
        """Return eta/M sum G_i over everybody."""
        eta = self.options.learning_rate or len(blend.clients) / blend.examples
        refreshed: Float64 = self.total.vector + blend.change.vector
        return eta / context.shares.clients * refreshed
