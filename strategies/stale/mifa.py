"""MIFA: Gu et al., "Fast Federated Learning in the Presence of Arbitrary Device Unavailability",
NeurIPS 2021, https://arxiv.org/abs/2106.04159

Memory-augmented impatient federated averaging: the server steps along the mean of everybody's
last update, where those who take part refresh theirs first:

    G_i <- Delta_i for i in S,   w^{t+1} = w^t - 1/N sum_j G_j
"""

from __future__ import annotations

from typing import ClassVar

from strategies.rounds.context import RoundContext, Update
from strategies.stale.blending import Float64
from strategies.stale.remembering import Blend, Remembering


class Mifa(Remembering):
    """The mean of everybody's last update; all clients count alike."""

    about: ClassVar[str] = "steps along the mean of everybody's last update, however old"

    def coefficient(self, update: Update, context: RoundContext) -> float:
        """Return 0: an update counts through the memory that it refreshes."""
        return 0.0

    def blend(self, blend: Blend, context: RoundContext) -> Float64:
        """Return the mean of the refreshed memories."""
        refreshed: Float64 = self.total.vector + blend.change.vector
        return refreshed / context.shares.clients
