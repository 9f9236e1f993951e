"""FedProto: Tan et al., "FedProto: Federated Prototype Learning across Heterogeneous Clients", AAAI
2022, https://arxiv.org/abs/2105.00243

Client k minimises, over its own model f, g,

    CE(g(f(x)), y) + lambda MSE(f(x), P_y)

and sends o_{k,c}, the mean of f(x) over its examples of class c; the server's

    P_c = mean of o_{k,c} over the clients k that have class c

goes back to everybody. A class without a prototype pulls nothing, so the first round is plain
training. A client classifies by the nearest P_c.

The official code takes the means over the last local epoch; ``collect=all-epochs`` is what HtFLlib
does. All clients take part there; here a class that nobody has keeps its last P_c.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from strategies import base
from strategies.prototypes.base import Prototypes
from strategies.prototypes.options import NearestOptions
from strategies.prototypes.round import PrototypeRound
from strategies.rounds.context import RoundContext


class FedProtoOptions(NearestOptions):
    """Options of `FedProto`."""

    collect: Annotated[
        Literal["all-epochs", "last-epoch", "after"],
        Field(description="what the means are over: the passes of training, or one after it"),
    ] = "last-epoch"


class FedProto(Prototypes):
    """Mean prototypes down, class prototypes up."""

    about: ClassVar[str] = "clients learn towards mean class prototypes; only prototypes travel"
    Options: ClassVar[type[base.Options]] = FedProtoOptions
    trainer: ClassVar[str] = "fedproto"

    def take(self, came: PrototypeRound, context: RoundContext) -> None:
        """Take the mean."""
        self.tables = self.updated(came)
