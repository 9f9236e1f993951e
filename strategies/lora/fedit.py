"""FedIT: Zhang et al., "Towards Building the Federated GPT: Federated Instruction Tuning", ICASSP
2024, https://arxiv.org/abs/2305.05644

FedAvg on LoRA's factors, each averaged by itself:

    A = sum_k p_k A_k,   B = sum_k p_k B_k,   p_k = n_k / sum_j n_j

The product of the means is not the mean of the products, so the step is biased even where clients
are alike; the record of each round says by how much (`aggregation_error`).
"""

from __future__ import annotations

from typing import ClassVar

from models.lora.factors import rank_of
from models.schema import NamedArrays
from strategies.fedavg import FedAvg


class FedIT(FedAvg):
    """Separate means of A and B."""

    about: ClassVar[str] = "means of A and of B, separately"
    travels: ClassVar[str] = "A and B"

    def initialise(self, arrays: NamedArrays) -> None:
        """Refuse adapters without factors."""
        rank_of(arrays.schema)
        super().initialise(arrays)
