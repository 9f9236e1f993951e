"""FedVARP: Jhunjhunwala et al., "FedVARP: Tackling the Variance Due to Partial Client Participation
in Federated Learning", UAI 2022, https://arxiv.org/abs/2207.14130

The server remembers each client's last update y_j and corrects the participants' mean by it:

    v = 1/|S| sum_{i in S} (Delta_i - y_i) + 1/N sum_j y_j,   w^{t+1} = w^t - v
    then y_i <- Delta_i for i in S

Memories are read before they are refreshed, and all clients count alike. ``rule='generalised'``
is the same idea for unequal shares and probabilities: FedStale's step with beta = 1.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from strategies import base
from strategies.rounds.context import RoundContext, Update
from strategies.stale.blending import Float64
from strategies.stale.generalised import Generalised, GeneralisedOptions
from strategies.stale.remembering import Blend


class FedVARPOptions(GeneralisedOptions):
    """Options of `FedVARP`."""

    rule: Annotated[
        Literal["original", "generalised"],
        Field(description="all clients alike, or unequal shares and probabilities"),
    ] = "original"


class FedVARP(Generalised):
    """The participants' mean, corrected by everybody's last update."""

    about: ClassVar[str] = "corrects the participants' mean by everybody's remembered updates"
    Options: ClassVar[type[base.Options]] = FedVARPOptions
    options: FedVARPOptions

    @property
    def _original(self) -> bool:
        return self.options.rule == "original"

    def choose_beta(self, blend: Blend, examples: float) -> float:
        """Return 1."""
        return 1.0

    def weight(self, update: Update, context: RoundContext) -> float:
        """Return 1, or n_i where shares differ."""
        return 1.0 if self._original else super().weight(update, context)

    def coefficient(self, update: Update, context: RoundContext) -> float:
        """Return 1, divided by |S| at the end, or n_i/p_i."""
        return 1.0 if self._original else super().coefficient(update, context)

    def blend(self, blend: Blend, context: RoundContext) -> Float64:
        """Return v."""
        if not self._original:
            return super().blend(blend, context)
        mean = (blend.fresh - blend.stale) / len(blend.clients)
        step: Float64 = mean + self.total.vector / context.shares.clients
        return step
