"""FFA-LoRA: Sun et al., "Improving LoRA in Privacy-preserving Federated Learning", ICLR 2024,
https://arxiv.org/abs/2403.12313

A is frozen at one random start that all clients share; only B is trained, travels and is averaged:

    B = sum_k p_k B_k,   so that   sum_k p_k B_k A = B A   exactly

Half the traffic of FedIT. The learning rate wants tuning of its own, often upwards. A comes from
the run's seed on every node, so it never travels. The head is trained and averaged like B.
"""

from __future__ import annotations

from typing import ClassVar

from models.lora.factors import rank_of, with_roles
from models.schema import NamedArrays
from strategies import base
from strategies.fedavg import FedAvg
from strategies.rounds.context import Instruction, RoundContext, Update

_TOLD = {"trainer": "frozen", "trainer.roles": "B,rest"}


class FFALoRA(base.Wrapper):
    """B trained and aggregated by the rule inside; A frozen at the common start."""

    about: ClassVar[str] = "A frozen at one random start, B trained and averaged: exact"
    travels: ClassVar[str] = "B"
    default_inner: ClassVar[type[base.Strategy] | None] = FedAvg

    def initialise(self, arrays: NamedArrays) -> None:
        """Give the rule inside what is trained."""
        rank_of(arrays.schema)
        self._start = arrays
        super().initialise(arrays.only(with_roles(arrays.schema, ("B", "rest"))))

    @property
    def model(self) -> NamedArrays:
        """A as it was, with what is trained."""
        return self._start.overlaid(super().model)

    def counted(self, update: Update, context: RoundContext) -> tuple[NamedArrays, float] | None:
        """Return B with the common A."""
        inner = self.inner.counted(update, context)
        return None if inner is None else (self._start.overlaid(inner[0]), inner[1])

    def instruct(self, client: str, context: RoundContext) -> Instruction:
        """Send B; A is on the node."""
        return super().instruct(client, context).also(_TOLD)

    def instruct_evaluation(self, client: str, context: RoundContext) -> Instruction:
        """Evaluate B over the same A."""
        return super().instruct_evaluation(client, context).also(_TOLD)
