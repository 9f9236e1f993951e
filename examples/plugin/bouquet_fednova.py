"""FedNova: Wang et al., "Tackling the Objective Inconsistency Problem in Heterogeneous Federated
Optimization", NeurIPS 2020, https://arxiv.org/abs/2007.07481

Clients that take more local steps pull the mean of models towards themselves. FedNova averages the
direction of each client instead, and steps along it as far as the clients went on average:

    d_i^(t) = (x^(t,0) - x_i^(t,tau_i)) / ||a_i||_1
    x^(t+1,0) = x^(t,0) - tau_eff sum_i p_i d_i^(t),    tau_eff = sum_i p_i ||a_i||_1

x^(t,0) is what the server sent, x_i^(t,tau_i) client i's adapter after tau_i steps, p_i its share
of the participants' examples; the learning rate is within d_i. a_i says how much each gradient of
the client counts in what it returns: all ones for plain SGD, so ||a_i||_1 = tau_i; with momentum
rho, ||a_i||_1 = sum_{k=1}^{tau_i} (1 - rho^k) / (1 - rho). The paper does not treat Adam: for it
steps are counted, as for plain SGD.
"""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np

from fedbouquet import (
    ClientRound,
    Instruction,
    Method,
    NamedArrays,
    Outcome,
    RoundContext,
    Strategy,
    Trainer,
    Update,
    WeightedMean,
)

NORM = "a_norm"


class NormalisingTrainer(Trainer):
    """The client half: trains as always and says ||a_i||_1."""

    about: ClassVar[str] = "trains, and says how far its steps went together"

    def train(self, work: ClientRound) -> Outcome:
        """Train, then count."""
        done = super().train(work)
        recipe, examples = work.recipe, len(work.part("train"))
        per_epoch = -(-examples // min(recipe.batch_size, examples))
        tau = recipe.local_steps or recipe.local_epochs * per_epoch
        given = dict(recipe.optimizer_args)
        rho = given.get("momentum", 0.0) if recipe.optimizer == "sgd" else 0.0
        return Outcome(done.arrays, {**done.metrics, NORM: a_norm(tau, rho)}, done.notes)


def a_norm(tau: int, rho: float) -> float:
    """Return ||a_i||_1 of SGD with momentum rho after tau steps."""
    return float(sum((1 - rho**k) / (1 - rho) for k in range(1, tau + 1)))


class NormalisedMean:
    """One round: sum_i p_i d_i, and tau_eff; holds one model whatever the cohort's size."""

    def __init__(self, x: NamedArrays) -> None:
        self.x = x.vector.astype(np.float64)
        self.direction = WeightedMean(self.x.size)
        self.tau_eff = WeightedMean(1)

    def add(self, update: Update) -> None:
        """Add p_i d_i and p_i ||a_i||_1; a client that does not say how far it went took a step."""
        norm = max(1.0, update.metrics.get(NORM, 1.0))
        self.direction.add((self.x - update.arrays.vector) / norm, update.weight)
        self.tau_eff.add(np.array([norm]), update.weight)

    def merge(self, other: Self) -> None:
        """Add another node's sums."""
        self.direction.merge(other.direction)
        self.tau_eff.merge(other.tau_eff)


class FedNova(Strategy):
    """The server half."""

    about: ClassVar[str] = "mean of the clients' directions, whatever the number of their steps"

    @property
    def is_affine(self) -> bool:
        """With one client the step is all of its way, so its adapter comes back."""
        return True

    def instruct(self, client: str, context: RoundContext) -> Instruction:
        """Name the client half."""
        return super().instruct(client, context).also({"trainer": "fednova"})

    def begin(self, context: RoundContext) -> NormalisedMean:
        """Open the sums."""
        return NormalisedMean(self.arrays)

    def conclude(self, aggregation: NormalisedMean, context: RoundContext) -> None:
        """Step along the mean direction; with no examples at all the model stays."""
        direction, tau_eff = aggregation.direction.result(), aggregation.tau_eff.result()
        if direction is not None and tau_eff is not None:
            self.arrays = self.arrays.replace(aggregation.x - tau_eff[0] * direction)


METHOD = Method(
    "fednova",
    FedNova,
    "Wang et al., NeurIPS 2020, https://arxiv.org/abs/2007.07481",
    trainers={"fednova": NormalisingTrainer},
    trainer="fednova",
    preset={"optimizer": "sgd", "learning-rate": 0.1, "num-server-rounds": 10},
)
