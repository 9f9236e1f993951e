"""async-fedstale, ours: FedStale's remembered updates (Rodio and Neglia, ECAI 2024,
https://arxiv.org/abs/2405.04171) in rounds that close with a buffer.

S_t are the clients whose updates close round t. Until a slow client's next update comes, its last
one stands in for it with weight beta; the step is equation (1) of FedStale:

    Delta^t = sum_{i in S_t} alpha_i/p_i Delta_i
              + beta [ sum_{i not in S_t} alpha_i h_i + sum_{i in S_t} (alpha_i - alpha_i/p_i) h_i ]

Three things differ from FedStale:

    Delta_i = w_sent,i - w_i      what client i changed since its own download, however old
    1/p_i = t - t_i               the rounds since its last update, not an estimate of their mean
    h_i = kappa^(t - t_i) Delta_i of t_i        what is remembered fades by kappa a round

t_i is the round of client i's last update, 0 before its first. So an update stands for the rounds
that it took, as in FedFix, and with kappa = 1 the remembered terms of a client add up to exactly 0
from one update to its next: they spread its influence over the rounds, and do not change how much
there is of it. beta = 0 is FedFix with an aggregation at every K updates. alpha_i is the client's
share of all examples.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from models.schema import NamedArrays
from strategies import base
from strategies.memory.store import Remembered
from strategies.rounds.context import RoundContext, Update
from strategies.stale.blending import Float64, change
from strategies.stale.fedstale import FedStale, FedStaleOptions
from strategies.stale.remembering import Blend


class AsyncFedStaleOptions(FedStaleOptions):
    """Options of `AsyncFedStale`."""

    kappa: Annotated[
        float, Field(gt=0, le=1, description="what a round leaves of a remembered update")
    ] = 1.0


class AsyncFedStale(FedStale):
    """Remembered updates stand in for clients that are still training."""

    about: ClassVar[str] = "last updates stand in, fading, for clients that are still training"
    closing: ClassVar[str] = "buffer"
    reads_start: ClassVar[bool] = True
    tells_clients: ClassVar[bool] = False
    Options: ClassVar[type[base.Options]] = AsyncFedStaleOptions
    options: AsyncFedStaleOptions

    @property
    def is_affine(self) -> bool:
        """No: a single update counts for the rounds that it took."""
        return False

    def initialise(self, arrays: NamedArrays) -> None:
        """Start with nothing remembered."""
        super().initialise(arrays)
        self._faded = 0  # the round that the running sum is of

    def delta(self, update: Update) -> Float64:
        """Return Delta_i."""
        return change(self.arrays, update)

    def probability(self, client: str, context: RoundContext) -> float:
        """Return p_i."""
        if self.options.probabilities == "known":
            return super().probability(client, context)
        return 1.0 / self.intervals.ending(client, context.round)

    def aged(self, remembered: Remembered | None, server_round: int) -> Remembered | None:
        """Return h_i as it is in a round."""
        if remembered is None:
            return None
        left = self.options.kappa ** (server_round - remembered.round)
        return replace(remembered, vector=np.multiply(remembered.vector, left, dtype=np.float64))

    def blend(self, blend: Blend, context: RoundContext) -> Float64:
        """Return Delta^t."""
        self._fade(context.round)
        return super().blend(blend, context)

    def forget(self, client: str, server_round: int) -> None:
        """Take a client's share out of the memory, as it is now."""
        self._fade(server_round)
        super().forget(client, server_round)

    def _fade(self, server_round: int) -> None:
        self.total.vector *= self.options.kappa ** (server_round - self._faded)
        self._faded = server_round

    def state(self) -> base.State:
        """Return the round of the running sum beside the rest."""
        return base.State({}, {"faded": self._faded}) | super().state()

    def restore(self, state: base.State) -> None:
        """Take it back."""
        self._faded = int(state.values["faded"] or 0)
        super().restore(state)
