"""FedAvg: McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized
Data", AISTATS 2017, https://arxiv.org/abs/1602.05629

Every client trains the global adapter on its own data; the next global adapter is the mean of
theirs, weighted by examples:

    w_{t+1} = sum_{k in S_t} n_k w_k / sum_{k in S_t} n_k

S_t is the cohort of round t, n_k the examples of client k, w_k its adapter after local training.

``weights='inverse-probability'`` is the unbiased baseline for uneven participation, with alpha_k
the client's share of all examples in the federation and p_k its probability of taking part:

    w_{t+1} = w_t + sum_{k in S_t} alpha_k / p_k (w_k - w_t)
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from models.errors import ConfigurationError
from models.schema import NamedArrays
from strategies import base
from strategies.aggregation.mean import WeightedMean
from strategies.rounds.context import RoundContext, Update


class FedAvgOptions(base.Options):
    """Options of `FedAvg`."""

    weights: Annotated[
        Literal["examples", "uniform", "inverse-probability"],
        Field(description="a client's weight: its examples, 1, or its share over its probability"),
    ] = "examples"


class MeanOfUpdates:
    """One round of the weighted mean; holds one model whatever the cohort's size.

    Parameters
    ----------
    strategy : FedAvg
        Gives each client's weight.
    context : RoundContext
    size : int
        Length of the updates; 0 = as the model.
    """

    def __init__(self, strategy: FedAvg, context: RoundContext, size: int = 0) -> None:
        self._strategy = strategy
        self._context = context
        self.mean = WeightedMean(size or strategy.arrays.schema.size)
        self.examples = 0.0
        self.clients = 0

    def add(self, update: Update) -> None:
        """Add n_k w_k, or n_k/p_k w_k."""
        self.mean.add(update.arrays.vector, self._strategy.weight(update, self._context))
        self.examples += update.num_examples
        self.clients += 1

    def merge(self, other: Self) -> None:
        """Add another node's sum."""
        self.mean.merge(other.mean)
        self.examples += other.examples
        self.clients += other.clients


class FedAvg(base.Strategy):
    """Weighted mean of the clients' adapters."""

    about: ClassVar[str] = "mean of the clients' adapters, weighted by examples"
    Options: ClassVar[type[base.Options]] = FedAvgOptions
    options: FedAvgOptions

    @property
    def is_affine(self) -> bool:
        """A mean of one update is that update; a sum over probabilities is not."""
        return self.options.weights != "inverse-probability"

    def weight(self, update: Update, context: RoundContext) -> float:
        """Return a client's weight in the sum.

        Raises
        ------
        ConfigurationError
            ``inverse-probability``, and nobody knows the probability.
        """
        if self.options.weights == "examples" or update.num_examples == 0:
            return update.weight
        if self.options.weights == "uniform":
            return 1.0
        probability = context.probability(update.client)
        if not probability:
            raise ConfigurationError(
                "fedavg: weights = 'inverse-probability', but the participation model does not "
                f"know how often '{update.client}' takes part; use 'fedstale' with beta=0, which "
                "estimates it"
            )
        return context.shares.examples(update.client, update.num_examples) / probability

    def counted(self, update: Update, context: RoundContext) -> tuple[NamedArrays, float] | None:
        """Return the update and n_k; over probabilities it is no mean."""
        return (update.arrays, self.weight(update, context)) if self.is_affine else None

    def begin(self, context: RoundContext) -> MeanOfUpdates:
        """Open an empty mean."""
        return MeanOfUpdates(self, context)

    def conclude(self, aggregation: MeanOfUpdates, context: RoundContext) -> None:
        """Take the mean as the next model; with no examples at all the model stays."""
        if self.options.weights != "inverse-probability":
            model = aggregation.mean.model(self.arrays.schema)
            self.arrays = self.arrays if model is None else model
            return
        mean = aggregation.mean.result()
        if mean is not None:
            everybody = context.shares.total(aggregation.examples, aggregation.clients)
            old = self.arrays.vector.astype(np.float64)
            mean = old + aggregation.mean.weight / everybody * (mean - old)
            self.arrays = self.arrays.replace(mean)
