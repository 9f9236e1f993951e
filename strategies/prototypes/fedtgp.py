"""FedTGP: Zhang et al., "FedTGP: Trainable Global Prototypes with Adaptive-Margin-Enhanced
Contrastive Learning for Data and Model Heterogeneity in Federated Learning", AAAI 2024,
https://arxiv.org/abs/2401.03230

Clients train as in FedProto, towards prototypes T that the server generates and trains: a network
of the class (`strategies.aggregation.prototypes.generator`) learns, over the clients' prototypes
p_{i,c} of the round,

    L_s = CE(-(||p_{i,c} - T_k|| + 1[k = c] min(rho, tau))_k, c)

rho is the largest distance of a class's mean prototype to its nearest other one. Prototypes are
collected after local training, in evaluation mode. (The authors' code reads them off the model
before it is saved, so they lag a round behind; here they do not.)

T has a row for every class, also for those that nobody had yet.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from models.prototypes.tables import table_of
from models.randomness import derive_generator
from models.schema import NamedArrays
from strategies import base
from strategies.aggregation.prototypes.generator import Generator, adaptive_margin, trained
from strategies.prototypes.base import Prototypes
from strategies.prototypes.options import NearestOptions
from strategies.prototypes.round import PrototypeRound
from strategies.rounds.context import RoundContext


class FedTGPOptions(NearestOptions):
    """Options of `FedTGP`."""

    lambda_: Annotated[
        float, Field(alias="lambda", ge=0, description="weight of the pull towards the prototypes")
    ] = 10.0
    collect: Annotated[
        Literal["all-epochs", "last-epoch", "after"],
        Field(description="what the means are over: the passes of training, or one after it"),
    ] = "after"
    server_epochs: Annotated[int, Field(ge=1, description="epochs of T's training a round")] = 100
    server_learning_rate: Annotated[float, Field(gt=0, description="of T's training")] = 0.01
    server_batch_size: Annotated[int, Field(ge=1, description="client prototypes a step")] = 10
    tau: Annotated[float, Field(ge=0, description="largest margin")] = 100.0


class FedTGP(Prototypes):
    """Trainable prototypes down, class prototypes up."""

    about: ClassVar[str] = "clients learn towards prototypes that the server trains to stay apart"
    Options: ClassVar[type[base.Options]] = FedTGPOptions
    options: FedTGPOptions
    trainer: ClassVar[str] = "fedproto"
    needs_each: ClassVar[bool] = True
    server_options: ClassVar[frozenset[str]] = frozenset(
        ["server_epochs", "server_learning_rate", "server_batch_size", "tau"]
    )

    def initialise(self, arrays: NamedArrays) -> None:
        """Begin without prototypes; the network is drawn when the first ones come."""
        super().initialise(arrays)
        self._network: Generator | None = None
        self._told: dict[str, float] = {}

    def take(self, came: PrototypeRound, context: RoundContext) -> None:
        """Train the network on what came, and generate T."""
        options = self.options
        if self._network is None:
            first = derive_generator(context.seed, "fedtgp", "network")
            self._network = Generator.start(*self.shape, first)
        p, classes = came.rows()
        margin = adaptive_margin(came.mean.result(), came.mean.present, options.tau)
        self._network, loss = trained(
            self._network,
            p,
            classes,
            margin,
            epochs=options.server_epochs,
            batch=options.server_batch_size,
            rate=options.server_learning_rate,
            order=context.generator("fedtgp"),
        )
        self._told = {"server_loss": loss, "margin": margin}
        self.tables = table_of(self._network.prototypes(), np.ones(self.shape[0], bool))

    def figures(self) -> dict[str, float]:
        """Return also the server's loss and margin."""
        return {**super().figures(), **self._told}

    def state(self) -> base.State:
        """Return the network too."""
        numbers = {} if self._network is None else self._network.arrays()
        return base.State(numbers).nested("network") | super().state()

    def restore(self, state: base.State) -> None:
        """Take it back."""
        super().restore(state)
        numbers = state.under("network").arrays
        self._network = Generator.of(numbers, self.shape) if numbers else None
