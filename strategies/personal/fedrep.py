"""FedRep: Collins et al., "Exploiting Shared Representations for Personalized Federated Learning",
ICML 2021, https://arxiv.org/abs/2102.07078

All clients share a representation phi, the body; each has a head h_i of its own. In round t
client i first fits its head to the body as received, then takes few steps of the body under the
new head, and returns the body only (Algorithm 1; `clients.trainers.personal.fedrep`):

    phi^{t+1} = sum_i n_i phi_i / sum_i n_i

FedPer (`strategies.personal.fedper`) trains both at once. Here the body is the adapter and the head
the model's head, or with ``personal=adapter`` the other way round.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import Field

from strategies import base
from strategies.personal.fedper import FedPer, FedPerOptions
from strategies.rounds.context import Scalar


class FedRepOptions(FedPerOptions):
    """Options of `FedRep`; 10 and 1 are the official code's for two classes a client."""

    head_epochs: Annotated[int, Field(ge=1, description="epochs of the personal part")] = 10
    body_epochs: Annotated[int, Field(ge=1, description="epochs of the shared part")] = 1


class FedRep(FedPer):
    """The head stays with the client and is trained first; then the body, which is shared."""

    about: ClassVar[str] = "head first, then body; the head (or the adapter) stays with the client"
    travels: ClassVar[str] = "what is shared"
    Options: ClassVar[type[base.Options]] = FedRepOptions
    options: FedRepOptions

    @property
    def half(self) -> Mapping[str, Scalar]:
        """Head, then body."""
        return {
            "trainer": "fedrep",
            "trainer.head-epochs": self.options.head_epochs,
            "trainer.body-epochs": self.options.body_epochs,
        }
