"""FD, federated distillation: Jeong et al., "Communication-Efficient On-Device Machine Learning:
Federated Distillation and Augmentation under Non-IID Private Data", 2018,
https://arxiv.org/abs/1811.11479

What travels are mean logits a class, C x C numbers. Client k minimises

    CE(g(f(x)), y) + lambda CE(g(f(x)), softmax(L_y))

and sends l_{k,c}, the mean of g(f(x)) over its examples of class c in all epochs; the server's L_c
is their mean over the clients that have class c. Clients classify by their own heads.

As in HtFLlib, but for the softmax (its code takes raw logits for probabilities there), L_c is the
mean of all clients; the paper leaves the receiver out of it.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from models.prototypes.tables import LOGITS
from strategies import base
from strategies.prototypes.base import Prototypes
from strategies.prototypes.options import CollectingOptions
from strategies.prototypes.round import PrototypeRound
from strategies.rounds.context import RoundContext


class FDOptions(CollectingOptions):
    """Options of `FD`."""

    lambda_: Annotated[
        float, Field(alias="lambda", ge=0, description="weight of the distillation")
    ] = 1.0


class FD(Prototypes):
    """Mean logits a class, down and up."""

    about: ClassVar[str] = "clients distil the mean logits of each class; only those travel"
    travels: ClassVar[str] = "C x C logits"
    Options: ClassVar[type[base.Options]] = FDOptions
    trainer: ClassVar[str] = "fd"
    values: ClassVar[str] = LOGITS

    def width(self, classes: int, features: int) -> int:
        """A row of logits has a number a class."""
        return classes

    def take(self, came: PrototypeRound, context: RoundContext) -> None:
        """Take the mean."""
        self.tables = self.updated(came)
