"""FedGH: Yi et al., "FedGH: Heterogeneous Federated Learning with Generalized Global Header", ACM
MM 2023, https://arxiv.org/abs/2303.13137

The feature extractors stay with the clients, and the head is the server's: it goes to everybody,
is trained along locally, and what comes back are not heads but prototypes o_{k,c}, the means of
f(x) in evaluation mode after training. On these the server trains its head g, an epoch a round:

    g <- g - eta grad CE(g(o_{k,c}), c)

A client classifies by its own f and the server's g.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from models.prototypes.tables import HEAD_BIAS, HEAD_WEIGHT, last_layer_keys
from models.schema import NamedArrays
from strategies import base
from strategies.aggregation.prototypes.linear_head import LinearHead, trained
from strategies.prototypes.base import Prototypes
from strategies.prototypes.options import PrototypesOptions
from strategies.prototypes.round import PrototypeRound
from strategies.rounds.context import RoundContext


class FedGHOptions(PrototypesOptions):
    """Options of `FedGH`."""

    server_epochs: Annotated[int, Field(ge=1, description="epochs of the head a round")] = 1
    server_learning_rate: Annotated[float, Field(gt=0, description="eta of the head")] = 0.01
    server_batch_size: Annotated[int, Field(ge=1, description="prototypes a step")] = 10


class FedGH(Prototypes):
    """A head down, class prototypes up."""

    about: ClassVar[str] = "the server trains one head on the clients' prototypes"
    travels: ClassVar[str] = "a head down, C x D prototypes up"
    Options: ClassVar[type[base.Options]] = FedGHOptions
    options: FedGHOptions
    trainer: ClassVar[str] = "fedgh"
    needs_each: ClassVar[bool] = True
    server_options: ClassVar[frozenset[str]] = frozenset(
        ["server_epochs", "server_learning_rate", "server_batch_size"]
    )

    def first_tables(self, arrays: NamedArrays) -> NamedArrays:
        """Return the head as it begins, under a name of its own: clients' models may differ."""
        weight, bias = last_layer_keys(arrays.schema)
        named = {HEAD_WEIGHT: arrays[weight]} | ({HEAD_BIAS: arrays[bias]} if bias else {})
        return NamedArrays.of(named)

    def take(self, came: PrototypeRound, context: RoundContext) -> None:
        """Train the head."""
        options, tables = self.options, self.tables
        has_bias = HEAD_BIAS in tables
        bias = tables[HEAD_BIAS] if has_bias else np.zeros(self.shape[0])
        head = trained(
            LinearHead(tables[HEAD_WEIGHT].astype(np.float64), bias.astype(np.float64)),
            *came.rows(),
            epochs=options.server_epochs,
            batch=options.server_batch_size,
            rate=options.server_learning_rate,
            order=context.generator("fedgh"),
            with_bias=has_bias,
        )
        named = {HEAD_WEIGHT: head.weight} | ({HEAD_BIAS: head.bias} if has_bias else {})
        self.tables = tables.overlaid(named)
