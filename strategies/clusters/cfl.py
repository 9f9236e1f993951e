"""CFL: Sattler et al., "Clustered Federated Learning: Model-Agnostic Distributed Multi-Task
Optimization under Privacy Constraints", 2019, https://arxiv.org/abs/1910.01991

All clients begin in one cluster. Where its training has come to rest though its clients still pull
apart, a cluster is split in two by the angles between its clients' updates dW_i = w_i - w:

    ||mean_i dW_i|| < eps1   and   max_i ||dW_i|| > eps2        (in round t > min-round, |c| > 2)
    S_ij = <dW_i, dW_j> / (||dW_i|| ||dW_j||);  complete linkage on 1 - S, two groups
    theta_c <- theta_c + mean_{i in c} dW_i                      after the split, same round

The mean is unweighted, as in the authors' program. A cluster is only split in a round in which all
its members took part. eps1 and eps2 depend on model and learning rate: look at ``norm_mean`` and
``norm_largest`` of the record first. ``criteria='relative'`` measures both in norms seen in the
run, so that no scale is needed:

    ||mean_i dW_i|| < eps1 max_i ||dW_i||   and   max_i ||dW_i|| > eps2 (the largest one so far)

At rest the updates of like clients are noise and cancel too, so that there must also be groups:
some cut of a tree of the unit updates whose mean silhouette is above ``silhouette``, and above
what chance gives (`strategies.aggregation.clusters.trees.best_cut`).

A client that comes later goes down the tree of splits, as in the paper: it is sent the model that
was split, and its update joins the part to whose mean direction its angle is smaller (the paper
keeps all updates and takes the nearest one). On its way it counts nowhere.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from models.lora.resize import resized
from models.schema import NamedArrays, Vector
from strategies import base
from strategies.aggregation.clusters.bipartition import Norms, bipartition, cosine_similarity
from strategies.aggregation.clusters.trees import best_cut, ward_tree
from strategies.clusters.by_cluster import Collected
from strategies.clusters.clustered import Clustered
from strategies.clusters.drawing import Drawing, worth_drawing
from strategies.clusters.features import FeatureOptions, Features
from strategies.rounds.context import Instruction, RoundContext, Update

Float64 = npt.NDArray[np.float64]
_EPS = {"absolute": (0.4, 1.6), "relative": (0.5, 0.1)}


class CFLOptions(FeatureOptions):
    """Options of `CFL`; letters as in the paper."""

    criteria: Annotated[
        Literal["absolute", "relative"], Field(description="norms as they are, or as shares")
    ] = "absolute"
    eps1: Annotated[
        float, Field(ge=0, description="most of the mean update; 0 = 0.4, relative 0.5")
    ] = 0.0
    eps2: Annotated[
        float, Field(ge=0, description="least of the largest update; 0 = 1.6, relative 0.1")
    ] = 0.0
    silhouette: Annotated[
        float, Field(ge=0, lt=1, description="least of any groups, with relative criteria")
    ] = 0.25
    min_round: Annotated[int, Field(ge=0, description="splits come after this round")] = 20
    participation: Annotated[
        float, Field(gt=0, le=1, description="share of a cluster that must have taken part")
    ] = 1.0
    weights: Annotated[
        Literal["uniform", "examples"], Field(description="clients count alike, or by examples")
    ] = "uniform"


@dataclass(frozen=True)
class Split:
    """A cluster that was split: `cluster` kept the number of its larger part, `other` is the rest.

    Attributes
    ----------
    cluster, other : int
    model : ndarray, shape (size,)
        Before the split.
    directions : ndarray, shape (2, d)
        Mean unit updates of both parts.
    """

    cluster: int
    other: int
    model: Vector
    directions: Float64


class CFL(Clustered):
    """Clusters that are split in two where their clients pull apart."""

    about: ClassVar[str] = "splits clusters in two where the updates of their clients disagree"
    linear: ClassVar[bool] = False
    Options: ClassVar[type[base.Options]] = CFLOptions
    options: CFLOptions

    def initialise(self, arrays: NamedArrays) -> None:
        """Begin with one cluster for all."""
        super().initialise(arrays)
        self.add_cluster()
        self._splits: list[Split] = []
        # Clients on their way down: the cluster that each stands at, the splits it has seen.
        self._walking: dict[str, tuple[int, int]] = {}
        self._largest = 0.0
        self._norms: dict[int, Norms] = {}
        self._features: Features | None = None
        self._drawing: Drawing | None = None

    # ---- the way down --------------------------------------------------------------------

    def _ahead(self, client: str) -> tuple[int, int | None]:
        """Return the cluster that a client without one stands at, and the next split of it."""
        cluster, seen = self._walking.get(client, (0, 0))
        for number in range(seen, len(self._splits)):
            if self._splits[number].cluster == cluster:
                return cluster, number
        return cluster, None

    def _walk(self, update: Update, context: RoundContext) -> None:
        """Let a client pass a split on the side to which its update is more alike."""
        _, number = self._ahead(update.client)
        assert number is not None
        split = self._splits[number]
        change = self._compared(context).of(update.arrays, self.arrays.replace(split.model))
        first, second = split.directions @ change
        self._walking[update.client] = (
            split.cluster if first >= second else split.other,
            number + 1,
        )
        cluster, following = self._ahead(update.client)
        if following is None:
            self.settle({update.client: cluster}, context.round)
            del self._walking[update.client]

    def _compared(self, context: RoundContext) -> Features:
        if self._features is None:
            self._features = Features(
                self.options.feature, self.options.sketch, self.arrays.schema, context.seed
            )
        return self._features

    # ---- a round -------------------------------------------------------------------------

    def instruct(self, client: str, context: RoundContext) -> Instruction:
        """Send the cluster's model; to a client on its way, the model that was split."""
        if client in self._assignment:
            return super().instruct(client, context)
        cluster, number = self._ahead(client)
        told = self.clusters[cluster].instruct(client, self.view(cluster, context))
        if number is None:
            return told
        model = self.arrays.replace(self._splits[number].model)
        return replace(told, arrays=resized(model, told.arrays.schema))

    def instruct_evaluation(self, client: str, context: RoundContext) -> Instruction:
        """Evaluate the cluster's model; on its way, that of the cluster that it stands at."""
        cluster = self._assignment.get(client, self._ahead(client)[0])
        return self.clusters[cluster].instruct_evaluation(client, self.view(cluster, context))

    def model_for(self, client: str) -> NamedArrays:
        """Return the model that the client evaluates."""
        cluster = self._assignment.get(client, self._ahead(client)[0])
        return self.clusters[cluster].model_for(client)

    def weighed(self, update: Update) -> Update:
        """Count every client alike, unless its examples are to count."""
        return update if self.options.weights == "examples" else replace(update, weight=1.0)

    def begin(self, context: RoundContext) -> Collected:
        """Keep all updates: their angles are needed before the first is aggregated."""
        return Collected()

    def conclude(self, aggregation: Any, context: RoundContext) -> None:
        """Split where the criteria say so, then average in each cluster."""
        self._moves = 0
        updates = dict(aggregation.in_order(context))
        arrived = {}
        for client in [c for c in updates if c not in self._assignment]:
            cluster, number = self._ahead(client)
            if number is None:
                arrived[client] = cluster
            else:
                self._walk(updates.pop(client), context)
        for client in arrived:
            self._walking.pop(client, None)
        self.settle(arrived, context.round)
        features = self._compared(context).of_all(updates, self._start_of)
        if worth_drawing(list(updates)):
            rows = cosine_similarity(np.stack(list(features.values())))
            self._drawing = Drawing(tuple(updates), rows, np.zeros((0, 4)))
        self._norms = {}
        for cluster in sorted({self._assignment[client] for client in updates}):
            here = {c: f for c, f in features.items() if self._assignment[c] == cluster}
            self._consider(cluster, here, context)
        self.feed(updates.values(), context)

    def _start_of(self, client: str) -> NamedArrays:
        return self.clusters[self._assignment[client]].arrays

    def _consider(
        self, cluster: int, features: Mapping[str, Float64], context: RoundContext
    ) -> None:
        """Split a cluster if it is at rest, though not its clients."""
        clients, rows = list(features), np.stack(list(features.values()))
        norms = self._norms[cluster] = Norms.of(rows)
        self._largest = max(self._largest, norms.largest)
        members = self.members(cluster)
        if (
            context.round <= self.options.min_round
            or len(clients) <= 2
            or len(clients) < self.options.participation * len(members)
            or not self._at_odds(norms)
        ):
            return
        unit = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-300)
        if self.options.criteria == "relative":
            groups, _ = best_cut(ward_tree(unit), unit, self.options.silhouette)
            if not groups.any():
                return
        parts = bipartition(cosine_similarity(rows))
        model = self.clusters[cluster].arrays
        other = self.add_cluster(model, context.round)
        directions = np.stack([unit[part].mean(axis=0) for part in parts])
        directions /= np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), 1e-300)
        self._splits.append(Split(cluster, other, model.vector.copy(), directions))
        self.settle({clients[row]: other for row in parts[1]}, context.round)
        for client in set(members) - features.keys():
            # It was not there to be told apart: it passes this split when it comes.
            self.release(client, context.round)
            self._walking[client] = (cluster, len(self._splits) - 1)

    def _at_odds(self, norms: Norms) -> bool:
        first, second = _EPS[self.options.criteria]
        eps1, eps2 = self.options.eps1 or first, self.options.eps2 or second
        if self.options.criteria == "relative":
            eps1, eps2 = eps1 * norms.largest, eps2 * self._largest
        return norms.mean < eps1 and norms.largest > eps2

    # ---- what is left behind -------------------------------------------------------------

    def drawing(self) -> Mapping[str, object]:
        """Return the similarities of the last round."""
        return self._drawing.to_dict() if self._drawing is not None else {}

    def figures(self) -> Mapping[str, float]:
        """Return the norms that the criteria look at, by cluster, beside the rest."""
        own = {}
        for cluster, norms in self._norms.items():
            own[f"norm_mean/cluster-{cluster}"] = norms.mean
            own[f"norm_largest/cluster-{cluster}"] = norms.largest
        return {**super().figures(), **own}

    def forget(self, client: str, server_round: int) -> None:
        """Drop the client, wherever it stands."""
        super().forget(client, server_round)
        self._walking.pop(client, None)

    def state(self) -> base.State:
        """Return the clusters, the splits and who is on its way."""
        arrays: dict[str, Vector] = {}
        for number, split in enumerate(self._splits):
            arrays[f"split-{number}/model"] = split.model
            arrays[f"split-{number}/directions"] = split.directions.reshape(-1)
        values: dict[str, base.Value] = {
            "splits": json.dumps([[split.cluster, split.other] for split in self._splits]),
            "walking": json.dumps(self._walking),
            "largest": self._largest,
        }
        drawn = base.State() if self._drawing is None else self._drawing.state().nested("drawing")
        return base.State(arrays, values) | drawn | super().state()

    def restore(self, state: base.State) -> None:
        """Take all of it back."""
        super().restore(state)
        self._splits = [
            Split(
                cluster,
                other,
                state.arrays[f"split-{number}/model"],
                state.arrays[f"split-{number}/directions"].astype(np.float64).reshape(2, -1),
            )
            for number, (cluster, other) in enumerate(json.loads(str(state.values["splits"])))
        ]
        walking = json.loads(str(state.values["walking"]))
        self._walking = {client: (int(at), int(seen)) for client, (at, seen) in walking.items()}
        self._largest = float(state.values["largest"] or 0.0)
        self._drawing = Drawing.of_state(state.under("drawing"))
