"""FedBuff: Nguyen et al., "Federated Learning with Buffered Asynchronous Aggregation", AISTATS
2022, https://arxiv.org/abs/2106.06639

The server steps as soon as K updates are in; the others go on from what they were sent:

    Delta_i = w_sent,i - w_i,   w <- w - eta mean_i s(u_i) Delta_i

u_i is the number of aggregations since client i's download, s(u) = (1 + u)^(-1/2) in the paper.
``mean`` says what mean is:

    normalised   sum s(u_i) Delta_i / sum s(u_i)      the default: a step is never shorter because
                                                      the buffer is old
    buffer       sum s(u_i) Delta_i / K               Algorithm 1 of the paper
    sum          sum s(u_i) / s(u_usual) Delta_i      as published in FLSim: eta has to be about
                                                      1/K; u_usual is a constant, 1 there

With ``weighting='examples'`` s(u_i) is multiplied by n_i over the buffer's mean of n.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from strategies import base
from strategies.asynchronous.stepping import StalenessOptions, Stepping, Steps, WeightingOptions
from strategies.rounds.context import RoundContext, Update
from strategies.stale.blending import Float64


class FedBuffOptions(StalenessOptions, WeightingOptions):
    """Options of `FedBuff`."""

    learning_rate: Annotated[float, Field(gt=0, description="eta")] = 1.0
    mean: Annotated[
        Literal["normalised", "buffer", "sum"],
        Field(description="divide by the weights, by the number of updates, or not at all"),
    ] = "normalised"
    usual_staleness: Annotated[
        int, Field(ge=0, description="of mean='sum': the staleness that has weight 1")
    ] = 1


class FedBuff(Stepping):
    """The mean of a buffer's updates, weighted by their age."""

    about: ClassVar[str] = "steps as soon as K updates are in, weighted by their age"
    Options: ClassVar[type[base.Options]] = FedBuffOptions
    options: FedBuffOptions

    def coefficient(self, update: Update, context: RoundContext) -> float:
        """Return s(u_i), times n_i where examples count."""
        return self.options.s(update.staleness) * self.options.n(update, context)

    def taken(self, steps: Steps, context: RoundContext) -> Float64:
        """Return eta times the mean."""
        options, count = self.options, len(steps.seconds)
        usual = steps.examples / count if options.weighting == "examples" else 1.0
        whole = {
            "normalised": steps.weight,
            "buffer": count * usual,
            "sum": options.s(options.usual_staleness) * usual,
        }
        return options.learning_rate / whole[options.mean] * steps.total
