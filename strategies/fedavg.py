"""FedAvg: McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized
Data", AISTATS 2017, https://arxiv.org/abs/1602.05629

Every client trains the global adapter on its own data; the next global adapter is the mean of
theirs, weighted by examples:

    w_{t+1} = sum_{k in S_t} n_k w_k / sum_{k in S_t} n_k

S_t is the cohort of round t, n_k the examples of client k, w_k its adapter after local training.
"""

from __future__ import annotations

from typing import ClassVar, Self

from strategies.aggregation.mean import WeightedMean
from strategies.base import Strategy
from strategies.rounds.context import RoundContext, Update


class MeanOfUpdates:
    """One round of the weighted mean; holds one model whatever the cohort's size."""

    def __init__(self, size: int) -> None:
        self.mean = WeightedMean(size)

    def add(self, update: Update) -> None:
        """Add n_k w_k."""
        self.mean.add(update.arrays.vector, update.weight)

    def merge(self, other: Self) -> None:
        """Add another node's sum."""
        self.mean.merge(other.mean)


class FedAvg(Strategy):
    """Weighted mean of the clients' adapters."""

    about: ClassVar[str] = "mean of the clients' adapters, weighted by examples"

    def begin(self, context: RoundContext) -> MeanOfUpdates:
        """Open an empty mean."""
        return MeanOfUpdates(self.arrays.schema.size)

    def conclude(self, aggregation: MeanOfUpdates, context: RoundContext) -> None:
        """Take the mean as the next model; with no examples at all the model stays."""
        mean = aggregation.mean.result()
        if mean is not None:
            self.arrays = self.arrays.replace(mean)
