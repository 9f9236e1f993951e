"""HetLoRA: Cho et al., "Heterogeneous LoRA for Federated Fine-tuning of On-Device Foundation
Models", EMNLP 2024, https://arxiv.org/abs/2401.06432

Clients train at ranks of their own. Each is sent the first r_k rows of A and columns of B, may
prune its rank (`clients.trainers.hetlora`), and counts by the size of its product:

    A = sum_k w_k pad(A_k),  B = sum_k w_k pad(B_k),  w_k = ||S_k||_F / sum_j ||S_j||_F,
    S_k = s_k B_k A_k

Adapters are padded with zeros to the largest rank and A and B are averaged separately, so rows
that few clients hold are divided by the weight of all: that is the method as it was published. The
head is averaged by examples.
"""

from __future__ import annotations

import json
from typing import Annotated, ClassVar, Self

from pydantic import Field

from models.lora.factors import require_products
from models.schema import NamedArrays
from strategies import base
from strategies.aggregation.lora.means import FactorMean, norm_weights
from strategies.lora.ranked import Ranked, RankedOptions
from strategies.rounds.context import Instruction, RoundContext, Update


class HetLoRAOptions(RankedOptions):
    """Options of `HetLoRA`; letters as in the paper."""

    gamma: Annotated[
        float, Field(gt=0, le=1, description="share of the rank that pruning keeps; 1 = no pruning")
    ] = 0.99
    penalty: Annotated[
        float, Field(ge=0, description="lambda, strength of the penalty on the tail")
    ] = 1e-3


class PaddedMean:
    """One round's norm-weighted mean, and the ranks that clients have now."""

    def __init__(self, arrays: NamedArrays) -> None:
        self.mean = FactorMean(arrays.schema)
        self.ranks: dict[str, int] = {}

    def add(self, update: Update) -> None:
        """Add one client's adapter, zero-padded."""
        if update.num_examples:
            self.mean.add(update.arrays, update.weight, norm_weights(update.arrays))
            if "rank" in update.metrics:
                self.ranks[update.client] = max(1, int(update.metrics["rank"]))

    def merge(self, other: Self) -> None:
        """Add another node's sums."""
        self.mean.merge(other.mean)
        self.ranks.update(other.ranks)


class HetLoRA(Ranked):
    """Zero-padded means weighted by the size of each client's product."""

    about: ClassVar[str] = "truncation down, self-pruning, norm-weighted zero-padded means up"
    travels: ClassVar[str] = "A and B of the client's rank"
    Options: ClassVar[type[base.Options]] = HetLoRAOptions
    options: HetLoRAOptions

    def initialise(self, arrays: NamedArrays) -> None:
        """Start with the ranks that clients can afford."""
        require_products(arrays.schema)
        super().initialise(arrays)
        self._pruned: dict[str, int] = {}

    def rank(self, client: str, context: RoundContext) -> int:
        """Return a client's rank now: what it can afford, or what it has pruned to."""
        afford = super().rank(client, context)
        return min(afford, self._pruned.get(client, afford))

    def instruct(self, client: str, context: RoundContext) -> Instruction:
        """Send the first r_k rows of A and columns of B, and how to prune."""
        return (
            super()
            .instruct(client, context)
            .also(
                {
                    "trainer": "hetlora",
                    "trainer.gamma": self.options.gamma,
                    "trainer.penalty": self.options.penalty,
                }
            )
        )

    def begin(self, context: RoundContext) -> PaddedMean:
        """Open an empty mean."""
        return PaddedMean(self.arrays)

    def conclude(self, aggregation: PaddedMean, context: RoundContext) -> None:
        """Take the mean; remember who has pruned."""
        mean = aggregation.mean.result()
        if mean is not None:
            self.arrays = mean
            self._pruned.update(aggregation.ranks)

    def forget(self, client: str, server_round: int) -> None:
        """Drop its rank."""
        self._pruned.pop(client, None)

    def state(self) -> base.State:
        """Return the adapter and the ranks."""
        return base.State(values={"ranks": json.dumps(self._pruned)}) | super().state()

    def restore(self, state: base.State) -> None:
        """Take both back."""
        super().restore(state)
        self._pruned = {name: int(r) for name, r in json.loads(str(state.values["ranks"])).items()}
