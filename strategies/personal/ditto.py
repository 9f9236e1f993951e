"""Ditto: Li et al., "Ditto: Fair and Robust Federated Learning Through Personalization", ICML 2021,
https://arxiv.org/abs/2012.04221

The global model w is learned as the rule inside says; that is nobody's own model. Beside it each
client has a personal model v_k, regularised towards w (Algorithm 1):

    min_{v_k}  h_k(v_k; w*) = F_k(v_k) + lambda / 2 ||v_k - w*||^2,    w* in argmin G(F_1, ..., F_K)

In round t a client of the cohort receives w^t, does its work for w, and trains v_k against w^t
(`clients.trainers.personal.ditto`). v_k never leaves the node. lambda = 0 trains alone, a large
lambda gives w. Clients are evaluated with v_k, and with w as ``shared``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field

from models.errors import ConfigurationError
from strategies import base
from strategies.fedavg import FedAvg
from strategies.lora.merging import Merging
from strategies.rounds.context import Instruction, RoundContext, Scalar


class DittoOptions(base.Options):
    """Options of `Ditto`; the official scripts take lambda = 1, and try 0.1 and 2 beside it."""

    strength: Annotated[
        float, Field(ge=0, alias="lambda", description="pull of a client's own model towards w")
    ] = 1.0
    personal_epochs: Annotated[
        int, Field(ge=0, description="epochs of v in a round; 0 = as many as of w")
    ] = 0


class Ditto(base.Wrapper):
    """The rule inside as it is; a personal model a client beside it."""

    about: ClassVar[str] = "a personal model beside the global one, pulled towards it by lambda"
    keeps_state: ClassVar[bool] = True
    default_inner: ClassVar[type[base.Strategy] | None] = FedAvg
    Options: ClassVar[type[base.Options]] = DittoOptions
    options: DittoOptions

    def __init__(self, inner: base.Strategy | None = None, **options: Any) -> None:
        super().__init__(inner, **options)
        *_, innermost = base.layers(self.inner)
        if isinstance(innermost, Merging):
            raise ConfigurationError(
                f"strategy: Ditto keeps adapters over the base as it was loaded, and "
                f"{innermost.describe()} changes the base; put flexlora or fedit inside"
            )

    @property
    def half(self) -> Mapping[str, Scalar]:
        """The client half that goes around the one of the rule inside."""
        options = self.options
        return {
            "around": "ditto",
            "around.lambda": options.strength,
            "around.personal-epochs": options.personal_epochs,
        }

    def instruct(self, client: str, context: RoundContext) -> Instruction:
        """Ask for the inner rule's work, and for v beside it."""
        return super().instruct(client, context).also(self.half)

    def instruct_evaluation(self, client: str, context: RoundContext) -> Instruction:
        """Evaluate v."""
        return super().instruct_evaluation(client, context).also(self.half)
