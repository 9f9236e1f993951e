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

from models.schema import NamedArrays, Schema
from strategies import base
from strategies.personal.parts import PersonalParts


class FedPerOptions(base.Options):
    """Options of `FedPer`."""

    personal: Annotated[
        Literal["head", "adapter"], Field(description="the part that each client keeps")
    ] = "head"


class FedPer(PersonalParts):
    """The head, or the adapter, stays with the client; the rule inside sees only the rest."""

    about: ClassVar[str] = "the head (or the adapter) stays with the client, the rest is shared"
    travels: ClassVar[str] = "what is shared"
    Options: ClassVar[type[base.Options]] = FedPerOptions
    options: FedPerOptions

    def shared(self, arrays: NamedArrays) -> Schema:
        """Return the schema of the base layers W_B."""
        schema, own = arrays.schema, self.options.personal == "head"
        return schema.only([key for key in schema.slices if schema.in_head(key) != own])
