"""FedAU: Wang and Ji, "A Lightweight Method for Tackling Unknown Participation Statistics in
Federated Averaging", ICLR 2024, https://arxiv.org/abs/2306.03401

A client's update counts as many times as the mean length of its participation intervals, so that
those who come rarely weigh as much over time as those who always come:

    w^{t+1} = w^t - 1/N sum_{i in S} omega_i Delta_i

omega_i is the mean of client i's intervals so far, 1 while there is none; an interval is cut off
after K rounds, which bounds omega_i. N counts all clients, not the participants.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from strategies import base
from strategies.rounds.context import RoundContext, Update
from strategies.stale.counting import Counting


class FedAUOptions(base.Options):
    """Options of `FedAU`; letters as in the paper."""

    cutoff: Annotated[
        int, Field(ge=0, description="K, the longest interval in rounds; 0 = no cut-off")
    ] = 50
    weighting: Annotated[
        Literal["uniform", "examples"],
        Field(description="clients count alike (the paper), or by their examples"),
    ] = "uniform"


class WeightedUpdates:
    """One round's sum of omega_i n_i Delta_i, shape (size,), and who took part."""

    def __init__(self, owner: FedAU, context: RoundContext) -> None:
        self._owner = owner
        self._context = context
        self.total = np.zeros(owner.arrays.schema.size)
        self.clients: list[str] = []
        self.examples = 0.0

    def add(self, update: Update) -> None:
        """Add omega_i n_i Delta_i."""
        if update.num_examples == 0:  # it learned from nothing: as if it had not been there
            return
        n = self._owner.weight(update, self._context)
        omega = self._owner.intervals.weight(update.client, self._context.round)
        self.total += omega * n * self._owner.delta(update)
        self.clients.append(update.client)
        self.examples += n

    def merge(self, other: Self) -> None:
        """Add another node's sum."""
        self.total += other.total
        self.clients += other.clients
        self.examples += other.examples


class FedAU(Counting):
    """Updates weighted by the mean participation interval of their client."""

    about: ClassVar[str] = "weighs updates by how long their clients usually stay away"
    Options: ClassVar[type[base.Options]] = FedAUOptions
    options: FedAUOptions

    @property
    def cutoff(self) -> int:
        """K."""
        return self.options.cutoff

    def weight(self, update: Update, context: RoundContext) -> float:
        """Return 1, or n_i."""
        if self.options.weighting == "uniform":
            return 1.0
        return context.shares.examples(update.client, update.num_examples)

    def begin(self, context: RoundContext) -> WeightedUpdates:
        """Open an empty sum."""
        return WeightedUpdates(self, context)

    def conclude(self, aggregation: WeightedUpdates, context: RoundContext) -> None:
        """Divide by N, or by all examples, and step."""
        if not aggregation.clients:
            return
        shares, uniform = context.shares, self.options.weighting == "uniform"
        examples = shares.total(aggregation.examples, len(aggregation.clients))
        everybody = shares.clients if uniform else examples
        self.intervals.took_part(aggregation.clients, context.round)
        self.step(aggregation.total / everybody, context)
