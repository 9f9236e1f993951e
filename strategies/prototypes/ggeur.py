"""GGEUR: "Geometric Knowledge-Guided Localized Global Distribution Alignment for Federated
Learning", CVPR 2025, https://arxiv.org/abs/2503.06457

The shape of a class's distribution is the same for all clients even where their data are not. In
round 1 clients do not train, but send the Gaussians of their classes; the server pools the
covariances exactly and takes of each its ``directions`` largest eigenvalues and eigenvectors,
the geometry of class c:

    Sigma_c ~ sum_i lambda_i v_i v_i^T,    rows sqrt(a_i lambda_i) v_i

with a_i falling evenly from ``amplify`` to 1. From then on every real feature f(x) is accompanied
in training by ``draws`` others around it, f(x) + sum_i eps_i sqrt(a_i lambda_i) v_i, eps ~ N(0, 1).

The authors' code amplifies the first ten eigenvalues as ``eigh`` sorts them, which are the
smallest; here, as the paper means it, the largest. The features here are the adapted model's, not
those of a frozen one, so ``every`` may take the geometry anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from models.errors import ConfigurationError
from models.prototypes.tables import GEOMETRY, last_layer_keys
from models.schema import NamedArrays
from strategies import base
from strategies.aggregation.prototypes.gaussians import directions
from strategies.fedavg import FedAvg
from strategies.hooks import Aggregation
from strategies.prototypes.statistics import StatisticsRound, statistics_schema
from strategies.rounds.context import Instruction, RoundContext


class GGEUROptions(base.Options):
    """Options of `GGEUR`."""

    min_examples_per_class: Annotated[
        int, Field(ge=1, description="a class of which a client has fewer is not sent")
    ] = 2
    directions: Annotated[int, Field(ge=1, description="eigenvectors a class that are used")] = 10
    amplify: Annotated[float, Field(ge=1, description="factor of the largest eigenvalue")] = 5.0
    draws: Annotated[int, Field(ge=1, description="features drawn around a real one")] = 1
    every: Annotated[
        int, Field(ge=0, description="rounds after which the geometry is taken anew; 0 = never")
    ] = 0


class GGEUR(base.Wrapper):
    """Any method, whose clients augment features along the global geometry of classes."""

    about: ClassVar[str] = "augments features along the global shape of each class"
    travels: ClassVar[str] = (
        "as inside, and C x directions x D down; once counts, means, covariances"
    )
    keeps_state: ClassVar[bool] = True
    default_inner: ClassVar[type[base.Strategy] | None] = FedAvg
    clusterable: ClassVar[bool] = False
    needs_fresh: ClassVar[str] = "its first rounds ask for other things than its later ones"
    needs_labels: ClassVar[bool] = True
    Options: ClassVar[type[base.Options]] = GGEUROptions
    options: GGEUROptions

    def __init__(self, inner: base.Strategy | None = None, **options: Any) -> None:
        super().__init__(inner, **options)
        if not self.inner.serves_all:
            raise ConfigurationError(
                f"strategy: ggeur takes the features of a global model; {self.inner.describe()} "
                "gives none, put it around fedavg or another method that does"
            )

    @property
    def is_affine(self) -> bool:
        """A blended update has no statistics."""
        return False

    def initialise(self, arrays: NamedArrays) -> None:
        """Begin without a geometry."""
        super().initialise(arrays)
        classes, features = arrays[last_layer_keys(arrays.schema)[0]].shape
        self._shape = int(classes), int(features)
        count = min(self.options.directions, features)
        self._geometry = NamedArrays.of({GEOMETRY: np.zeros((classes, count, features), "f4")})
        self._sent: tuple[NamedArrays, NamedArrays, NamedArrays] | None = None

    def _takes_geometry(self, context: RoundContext) -> bool:
        every = self.options.every
        return context.round == 1 or bool(every and (context.round - 1) % every == 0)

    def instruct(self, client: str, context: RoundContext) -> Instruction:
        """Ask for statistics, or send the geometry beside what the method inside sends."""
        if self._takes_geometry(context):
            reply = statistics_schema(*self._shape)
            wanted = Instruction(self.model, reply=reply, base_version=self.base_version)
            least = self.options.min_examples_per_class
            return wanted.also({"trainer": "statistics", "trainer.min-examples-per-class": least})
        told = super().instruct(client, context)
        if told.config.get("trainer", "plain") not in ("plain", "partial") or told.reply:
            raise ConfigurationError(
                f"strategy: GGEUR cannot go around {self.inner.describe()}, whose clients work in "
                "their own way; take fedavg inside"
            )
        if self._sent is None or self._sent[0] is not told.arrays:
            self._sent = told.arrays, self._geometry, told.arrays.beside(self._geometry)
        arrays, draws = self._sent[2], self.options.draws
        also = told.also({"trainer": "ggeur", "trainer.draws": draws})
        return replace(also, arrays=arrays, reply=told.arrays.schema)

    def begin(self, context: RoundContext) -> Aggregation:
        """Open the inner aggregation, or empty statistics."""
        if self._takes_geometry(context):
            return StatisticsRound(*self._shape)
        return super().begin(context)

    def conclude(self, aggregation: Any, context: RoundContext) -> None:
        """Let the method inside conclude, or take the geometry."""
        if not self._takes_geometry(context):
            super().conclude(aggregation, context)
            return
        rows = self._geometry[GEOMETRY].copy()
        amplified = np.linspace(self.options.amplify, 1.0, rows.shape[1])
        for c in np.flatnonzero(aggregation.pooled.counts > 1):
            values, vectors = directions(aggregation.pooled.covariances()[c])
            sizes = np.sqrt(amplified * values[: len(amplified)])
            rows[c] = sizes[:, None] * vectors[: len(amplified)]
        self._geometry = self._geometry.replace(rows.reshape(-1))
        self._sent = None

    def model_for(self, client: str) -> NamedArrays:
        """Return what the method inside has for a client, and the geometry."""
        return super().model_for(client).beside(self._geometry)

    def artifacts(self) -> Mapping[str, npt.NDArray[np.generic]]:
        """Return the geometry, shape (C, directions, D)."""
        return {**super().artifacts(), **self._geometry}

    def state(self) -> base.State:
        """Return the geometry and the inner state."""
        return base.State({"geometry": self._geometry.vector}) | super().state()

    def restore(self, state: base.State) -> None:
        """Take both back."""
        self._geometry = self._geometry.replace(state.arrays["geometry"])
        super().restore(state)
