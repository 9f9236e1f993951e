"""A wrapper for methods in which some arrays stay with the client.

The rule inside sees, and clients send, the shared ones only; the client half keeps the others on
the client's node (`clients.trainers.partial`).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from models.errors import BouquetError
from models.schema import NamedArrays, Schema
from strategies import base
from strategies.fedavg import FedAvg
from strategies.rounds.context import Instruction, RoundContext, Scalar


class PersonalParts(base.Wrapper):
    """Base of methods that share some arrays and leave the others with the client."""

    keeps_state: ClassVar[bool] = True
    has_global_model: ClassVar[bool] = False
    default_inner: ClassVar[type[base.Strategy] | None] = FedAvg

    @property
    def half(self) -> Mapping[str, Scalar]:
        """The client half and its options; by default both parts are trained together."""
        return {"trainer": "partial"}

    @abstractmethod
    def shared(self, arrays: NamedArrays) -> Schema:
        """Return the schema of what is shared."""

    def initialise(self, arrays: NamedArrays) -> None:
        """Give the rule inside what is shared.

        Raises
        ------
        BouquetError
            With this adapter nothing would be shared, or nothing personal.
        """
        shared = self.shared(arrays)
        if not 0 < len(shared.arrays) < len(arrays):
            raise BouquetError(
                f"{self.describe()} leaves nothing to {'keep' if shared.arrays else 'share'} with "
                f"adapter '{arrays.schema.facts.get('kind', 'unknown')}'"
            )
        super().initialise(arrays.only(shared))

    def instruct(self, client: str, context: RoundContext) -> Instruction:
        """Send what is shared; what is not sent is the client's."""
        return super().instruct(client, context).also(self.half)

    def instruct_evaluation(self, client: str, context: RoundContext) -> Instruction:
        """Evaluate what is shared with the client's own part."""
        return super().instruct_evaluation(client, context).also(self.half)
