"""FedPer: Arivazhagan et al., "Federated Learning with Personalization Layers", 2019,
https://arxiv.org/abs/1912.00818

The model is split into base layers W_B, shared by all, and personalisation layers W_Pj, each
client's own. A client trains both together from (W_B, W_Pj); only W_B travels and is averaged:

    W_B <- sum_j gamma_j W_B,j,    gamma_j = n_j / sum_k n_k

The personalisation layers stay on the client's node, and never reach the server. Here the base
layers are the adapter's and the personal ones, by default, the head.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from models.errors import BouquetError
from models.schema import NamedArrays
from strategies import base
from strategies.fedavg import FedAvg
from strategies.rounds.context import Instruction, RoundContext


class FedPerOptions(base.Options):
    """Options of `FedPer`."""

    personal: Annotated[
        Literal["head", "adapter"], Field(description="the part that each client keeps")
    ] = "head"


class FedPer(base.Wrapper):
    """Some arrays stay with the client; the rule inside sees only the others."""

    about: ClassVar[str] = "the head (or the adapter) stays with the client, the rest is shared"
    has_global_model: ClassVar[bool] = False
    default_inner: ClassVar[type[base.Strategy] | None] = FedAvg
    Options: ClassVar[type[base.Options]] = FedPerOptions
    options: FedPerOptions

    def initialise(self, arrays: NamedArrays) -> None:
        """Give the rule inside the base layers W_B."""
        shared = [key for key in arrays if not self._is_personal(key, arrays)]
        if not 0 < len(shared) < len(arrays):
            raise BouquetError(
                f"fedper: personal = '{self.options.personal}' leaves nothing to "
                f"{'share' if not shared else 'keep'} with this adapter"
            )
        super().initialise(arrays.only(arrays.schema.only(shared)))

    def _is_personal(self, key: str, arrays: NamedArrays) -> bool:
        in_head = arrays.schema.in_head(key)
        return in_head if self.options.personal == "head" else not in_head

    def instruct(self, client: str, context: RoundContext) -> Instruction:
        """Send W_B; what is not sent is the client's."""
        return super().instruct(client, context).also({"trainer": "partial"})

    def instruct_evaluation(self, client: str, context: RoundContext) -> Instruction:
        """Evaluate (W_B, W_Pj)."""
        return super().instruct_evaluation(client, context).also({"trainer": "partial"})
