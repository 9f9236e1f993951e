"""FedSA-LoRA: Guo et al., "Selective Aggregation for Low-Rank Adaptation in Federated Learning",
ICLR 2025, https://arxiv.org/abs/2410.01463

A learns what clients have in common, B what is a client's own: A is averaged, B and the head stay
with the client.

    A = sum_k p_k A_k;   client k uses (A, B_k)

There is no global model: evaluation is each client's own. One that never took part has B = 0 and
the common head. Not to be confused with FedSA (semantic anchors).
"""

from __future__ import annotations

from typing import ClassVar

from models.lora.factors import rank_of, with_roles
from models.schema import NamedArrays, Schema
from strategies.personal.parts import PersonalParts


class FedSALoRA(PersonalParts):
    """A shared; B and the head each client's own."""

    about: ClassVar[str] = "A shared, B and the head stay with the client"
    travels: ClassVar[str] = "A"

    def shared(self, arrays: NamedArrays) -> Schema:
        """Return the schema of all A."""
        rank_of(arrays.schema)
        return with_roles(arrays.schema, ("A",))
