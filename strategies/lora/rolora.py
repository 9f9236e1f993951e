"""RoLoRA: Chen et al., "Robust Federated Finetuning of LLMs via Alternating Optimization of LoRA",
NeurIPS 2025, https://arxiv.org/abs/2502.01755

Rounds alternate: odd ones train and average B with A frozen, even ones A with B frozen. The frozen
factor is the same on all clients, so the mean of the trained one gives the mean of the products:

    odd t:  B^{t+1} = sum_k p_k B_k,  A^{t+1} = A^t;     even t:  the other way round

It begins with B: B is zero at first, and with it the gradient of A. Clients receive both factors,
since one that missed rounds lacks the frozen one too; they return the trained one. The head is
trained in every round. Optimiser states do not outlive a round, as with every method here.
"""

from __future__ import annotations

from typing import ClassVar

from models.lora.factors import rank_of, with_roles
from models.schema import NamedArrays, Schema
from strategies.fedavg import FedAvg, MeanOfUpdates
from strategies.rounds.context import Instruction, RoundContext, Update


class RoLoRA(FedAvg):
    """A and B in turn, the other frozen."""

    about: ClassVar[str] = "trains B and A in alternate rounds, the other frozen: exact"
    travels: ClassVar[str] = "A and B down, the trained one up"
    needs_fresh: ClassVar[str] = "each round averages one of two factors"

    def initialise(self, arrays: NamedArrays) -> None:
        """Refuse adapters without factors."""
        rank_of(arrays.schema)
        super().initialise(arrays)

    @property
    def is_affine(self) -> bool:
        """A blended update would mix rounds of A with rounds of B."""
        return False

    def _roles(self, server_round: int) -> tuple[str, str]:
        return ("B" if server_round % 2 else "A", "rest")

    def _trained(self, server_round: int) -> Schema:
        return with_roles(self.arrays.schema, self._roles(server_round))

    def instruct(self, client: str, context: RoundContext) -> Instruction:
        """Send both factors and ask for the one whose turn it is."""
        told = {"trainer": "frozen", "trainer.roles": ",".join(self._roles(context.round))}
        return Instruction(self.arrays, told, self._trained(context.round))

    def counted(self, update: Update, context: RoundContext) -> tuple[NamedArrays, float] | None:
        """Return the trained factor with the frozen one."""
        return self.arrays.overlaid(update.arrays), self.weight(update, context)

    def begin(self, context: RoundContext) -> MeanOfUpdates:
        """Open an empty mean of what is trained in this round."""
        return MeanOfUpdates(self, context, self._trained(context.round).size)

    def conclude(self, aggregation: MeanOfUpdates, context: RoundContext) -> None:
        """Take the mean in the place of the factor that was trained."""
        mean = aggregation.mean.result()
        if mean is not None:
            trained = self._trained(context.round)
            part = NamedArrays(trained, mean.astype(trained.dtype))
            self.arrays = self.arrays.overlaid(part)
