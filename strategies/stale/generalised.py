"""The step of FedStale's equation (1) for a given beta, with unequal shares and probabilities.

    Delta^t = sum_{i in S} alpha_i/p_i Delta_i
              + beta [ sum_{i not in S} alpha_i h_i + sum_{i in S} (alpha_i - alpha_i/p_i) h_i ]

The bracket is the sum of alpha_i h_i over all clients less that of alpha_i/p_i h_i over S; the
first is a running sum. alpha_i = n_i / sum_j n_j over all clients, p_i the probability of taking
part (availability times sampling). Unknown p_i are replaced by 1/omega_i, omega_i the mean
participation interval (`strategies.stale.intervals`).
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from models.errors import ConfigurationError
from strategies import base
from strategies.rounds.context import RoundContext, Update
from strategies.stale.blending import Float64
from strategies.stale.counting import Counting
from strategies.stale.remembering import Blend, Remembering, RememberingOptions


class GeneralisedOptions(RememberingOptions):
    """Options of the rules for unequal probabilities p_i."""

    probabilities: Annotated[
        Literal["estimated", "known"],
        Field(description="p_i from participation intervals, or as the scenario has them"),
    ] = "estimated"


class Generalised(Counting, Remembering):
    """Base of FedStale and of FedVARP for unequal shares and probabilities."""

    Options: ClassVar[type[base.Options]] = GeneralisedOptions
    options: GeneralisedOptions

    @abstractmethod
    def choose_beta(self, blend: Blend, examples: float) -> float:
        """Return this round's beta; `examples` is sum_j n_j over all clients."""

    def probability(self, client: str, context: RoundContext) -> float:
        """Return p_i.

        Raises
        ------
        ConfigurationError
            It should be known, and the participation model does not know it.
        """
        if self.options.probabilities == "estimated":
            return 1.0 / self.intervals.weight(client, context.round)
        known = context.probability(client)
        if not known:
            raise ConfigurationError(
                f"probabilities = 'known', but nobody knows how often '{client}' takes part; "
                "use probabilities = 'estimated'"
            )
        return known

    def weight(self, update: Update, context: RoundContext) -> float:
        """Return n_i; the division by sum_j n_j comes last."""
        return context.shares.examples(update.client, update.num_examples)

    def coefficient(self, update: Update, context: RoundContext) -> float:
        """Return n_i/p_i."""
        return self.weight(update, context) / self.probability(update.client, context)

    def blend(self, blend: Blend, context: RoundContext) -> Float64:
        """Return Delta^t."""
        examples = context.shares.total(blend.examples, len(blend.clients))
        beta = self.choose_beta(blend, examples)
        self.intervals.took_part(blend.clients, context.round)
        step: Float64 = (blend.fresh + beta * (self.total.vector - blend.stale)) / examples
        return step
