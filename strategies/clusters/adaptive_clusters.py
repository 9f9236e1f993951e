"""Adaptive clusters: Yeganeh et al., "Adaptive Personlization in Federated Learning for Highly
Non-i.i.d. Data", 2022, https://arxiv.org/abs/2207.03448

Three phases. First, a warm-up: the rule inside trains one model w for all. Then, in one round, all
available clients train it for several epochs, and their updates w_i - w are clustered by Ward's
criterion; the number of clusters is what the cut of the tree gives. A client that is alone joins
another cluster. Each cluster c begins with what the rule inside makes of its members' w_i. From
then on each is trained by Reptile: some members k are drawn, and with eps_t from 1 to 0.46,

    w_c <- w_c + eps_t ( sum_k n_k/n w_k - w_c )

where the bracket holds whatever the rule inside makes of the updates. Personalisation at evaluation
is the run's own setting. With ``meta-start=1, meta-end=1`` this is plain averaging by cluster.

The paper cuts at a distance (``threshold``), which depends on model and learning rate. Two cuts of
ours have no scale: at a share of the largest height (``normalised-threshold``), or, by default,
where the groups' mean silhouette, of those above chance, is largest. ``refine=false`` leaves the
tree's groups as they are.

A client that was not there when clusters were made is sent w, trains as the others did then, and
joins the cluster whose mean update is nearest; this update counts nowhere. Until then it uses w.
``recluster-every`` repeats the clustering round, so that clients that change are followed; clusters
keep their numbers by largest overlap. Its updates are kept (float32) until the tree is there,
unless ``cluster-start='global'``; with ``sketch`` their vectors are short. With
``feature='prototypes'`` clients do not train in that round, but answer with class means, and
clusters begin with the common model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from models.schema import NamedArrays
from strategies import base
from strategies.aggregation.clusters.bipartition import cosine_similarity
from strategies.aggregation.clusters.matching import kept_numbers
from strategies.aggregation.clusters.trees import (
    best_cut,
    cut,
    leaves,
    nearest_mean,
    settled,
    ward_tree,
    without_singletons,
)
from strategies.clusters.by_cluster import ByCluster, Measured
from strategies.clusters.class_means import ClassMeans, filled
from strategies.clusters.clustered import Clustered
from strategies.clusters.drawing import Drawing, worth_drawing
from strategies.clusters.features import Features, SketchOptions
from strategies.rounds.context import Instruction, RoundContext, Update

Float64 = npt.NDArray[np.float64]


class AdaptiveClustersOptions(SketchOptions):
    """Options of `AdaptiveClusters`."""

    feature: Annotated[
        Literal["adapter", "product", "head", "prototypes"],
        Field(description="what is compared: of an update, or class prototypes without training"),
    ] = "adapter"
    warm_up_rounds: Annotated[int, Field(ge=0, description="rounds of one model for all")] = 3
    cluster_epochs: Annotated[
        int, Field(ge=1, description="epochs before updates are compared")
    ] = 3
    threshold: Annotated[
        float, Field(ge=0, description="distance of the cut; 0 = by the other options")
    ] = 0.0
    normalised_threshold: Annotated[
        float, Field(ge=0, le=1, description="height of the cut, of the largest; 0 = by silhouette")
    ] = 0.0
    silhouette: Annotated[
        float, Field(ge=0, lt=1, description="least mean silhouette for a cut to be made at all")
    ] = 0.25
    singletons: Annotated[
        Literal["nearest", "distance-to-server", "stay"],
        Field(description="whom a client that is alone joins: see the documentation"),
    ] = "nearest"
    refine: Annotated[
        bool, Field(description="move clients to nearer means after the cut, as k-means does")
    ] = True
    cluster_start: Annotated[
        Literal["mean", "global"],
        Field(description="a cluster begins with its members' mean, or with the common model"),
    ] = "mean"
    clients_per_cluster: Annotated[
        int, Field(ge=0, description="members drawn a round; 0 = all")
    ] = 5
    meta_start: Annotated[float, Field(gt=0, le=1, description="first eps of Reptile")] = 1.0
    meta_end: Annotated[float, Field(gt=0, le=1, description="last eps of Reptile")] = 0.46
    recluster_every: Annotated[
        int, Field(ge=0, description="rounds between clusterings; 0 = only once")
    ] = 0


class AdaptiveClusters(Clustered):
    """Warm-up, one clustering by Ward's criterion, Reptile in each cluster."""

    about: ClassVar[str] = "warm-up, hierarchical clustering of updates, Reptile in each cluster"
    Options: ClassVar[type[base.Options]] = AdaptiveClustersOptions
    options: AdaptiveClustersOptions

    def initialise(self, arrays: NamedArrays) -> None:
        """Begin with the warm-up."""
        super().initialise(arrays)
        self._clustered = 0  # the round of the last clustering
        self._means = np.zeros((0, 0))  # of the clusters' vectors, in order of their numbers
        self._features: Features | None = None
        self._class_means: ClassMeans | None = None
        if self.options.feature == "prototypes":
            self._class_means = ClassMeans(arrays.schema)
        self._drawing: Drawing | None = None

    # ---- phases --------------------------------------------------------------------------

    def _warming_up(self, context: RoundContext) -> bool:
        return not self.clusters and context.round <= self.options.warm_up_rounds

    def _clustering(self, context: RoundContext) -> bool:
        """Say whether this is a clustering round; one in which nobody answered comes again."""
        if not self.clusters:
            return context.round > self.options.warm_up_rounds
        every = self.options.recluster_every
        return bool(every) and context.round - self._clustered >= every

    def _eps(self, context: RoundContext) -> float:
        """Return eps_t, linear over the rounds after the first clustering."""
        first = self.options.warm_up_rounds + 2
        done = (context.round - first) / max(1, context.num_rounds - first)
        done = min(1.0, max(0.0, done))
        return self.options.meta_start + done * (self.options.meta_end - self.options.meta_start)

    # ---- a round -------------------------------------------------------------------------

    def sample(self, context: RoundContext) -> Sequence[str]:
        """Ask as the rule inside does, everybody, or some of each cluster and who has none."""
        if self._warming_up(context):
            return super().sample(context)
        if self._clustering(context):
            return context.available
        asked = {client for client in context.available if client not in self._assignment}
        for cluster in self.clusters:
            asked.update(self._drawn(cluster, context))
        return [client for client in context.available if client in asked]

    def _drawn(self, cluster: int, context: RoundContext) -> Sequence[str]:
        """Draw min(clients-per-cluster, |c|) members, with a generator of the cluster's own."""
        there, count = self.view(cluster, context).available, self.options.clients_per_cluster
        if not 0 < count < len(there):
            return there
        generator = context.generator(f"cluster-{cluster}")
        return [there[i] for i in generator.choice(len(there), size=count, replace=False)]

    def part_of(self, cluster: int, context: RoundContext) -> RoundContext:
        """Return the round as a cluster sees it, with a cohort of its own."""
        return context.within(self.members(cluster), self.options.clients_per_cluster)

    def instruct(self, client: str, context: RoundContext) -> Instruction:
        """Send the common model to whoever is to be told apart, else the cluster's."""
        if self._warming_up(context):
            return self.inner.instruct(client, context)
        if self._clustering(context) or client not in self._assignment:
            if self._class_means is not None:
                return self._class_means.asked(self.arrays)
            epochs = {"local-epochs": self.options.cluster_epochs, "local-steps": 0}
            return self.inner.instruct(client, context).also(epochs)
        return super().instruct(client, context)

    def begin(self, context: RoundContext) -> Any:
        """Open what the phase needs."""
        if self._warming_up(context):
            return self.inner.begin(context)
        vector = self._compared(context)
        if self._clustering(context):
            trained = self._class_means is None
            return Measured(vector, keep=trained and self.options.cluster_start == "mean")
        return Arrivals(self, vector, context)

    def _compared(self, context: RoundContext) -> Callable[[Update], Float64]:
        if self._class_means is not None:
            return self._class_means.of
        if self._features is None:
            self._features = Features(
                self.options.feature, self.options.sketch, self.arrays.schema, context.seed
            )
        features = self._features
        return lambda update: features.of(update.arrays, self.arrays)

    def conclude(self, aggregation: Any, context: RoundContext) -> None:
        """Aggregate for all, make clusters, or aggregate by cluster and place who came."""
        self._moves = 0
        if self._warming_up(context):
            self.inner.conclude(aggregation, context)
        elif self._clustering(context):
            self._make_clusters(aggregation, context)
        else:
            super().conclude(aggregation, context)
            found = sorted(self.clusters)
            joined = {
                client: found[nearest_mean(vector, self._means)]
                for client, vector in aggregation.arrived.items()
            }
            self.settle(joined, context.round)

    def conclude_in(self, cluster: int, aggregation: Any, context: RoundContext) -> None:
        """Step by eps_t towards what the rule inside makes of the updates."""
        self.step_by(self._eps(context), cluster, aggregation, context)

    # ---- clusters ------------------------------------------------------------------------

    def _make_clusters(self, measured: Measured, context: RoundContext) -> None:
        vectors = measured.in_order(context)
        if not vectors:
            return
        clients, rows = list(vectors), filled(np.stack(list(vectors.values())))
        tree, options = ward_tree(rows), self.options
        groups, height = best_cut(tree, rows, options.silhouette)
        if options.threshold or options.normalised_threshold:
            largest = float(tree[-1, 2]) if len(tree) else 0.0
            height = options.threshold or options.normalised_threshold * largest
            groups = cut(tree, height)
        if options.singletons != "stay":
            groups = without_singletons(groups, rows, options.singletons)
        if options.refine:
            groups = settled(groups, rows)
        if worth_drawing(clients):
            order = tuple(clients[place] for place in leaves(tree))
            self._drawing = Drawing(tuple(clients), cosine_similarity(rows), tree, order, height)
        parts = [np.flatnonzero(groups == group).tolist() for group in range(groups.max() + 1)]
        members = [[clients[row] for row in part] for part in parts]
        numbers = self._numbered(members, measured, context)
        order_of = np.argsort(numbers)
        self._means = np.stack([rows[parts[place]].mean(axis=0) for place in order_of])
        self._clustered = context.round

    def _numbered(
        self, groups: Sequence[Sequence[str]], measured: Measured, context: RoundContext
    ) -> list[int]:
        """Give each group the cluster that it continues, or a new one; let go of the others."""
        before = self._assignment
        numbers: list[int] = []
        fresh: list[int] = []
        for group, kept in zip(groups, kept_numbers(before, groups), strict=True):
            if kept is None:
                # Clients that leave a cluster together take its model along.
                came_from = Counter(before[client] for client in group if client in before)
                origin = self.rule_of(came_from.most_common(1)[0][0] if came_from else None)
                kept = self.add_cluster(origin.arrays, context.round)
                if not came_from:
                    fresh.append(kept)
            numbers.append(kept)
        told = {c: n for group, n in zip(groups, numbers, strict=True) for c in group}
        self.settle(told, context.round)
        for number in self.clusters.keys() - set(numbers):
            for client in self.members(number):
                self.release(client, context.round)
            del self.clusters[number]
        for number in fresh:
            part = self.begin_in(number, context)
            for client in self.members(number):
                if client in measured.updates:
                    part.add(measured.updates[client])
            self.clusters[number].conclude(part, self.view(number, context))
        return numbers

    # ---- what is left behind -------------------------------------------------------------

    def drawing(self) -> Mapping[str, object]:
        """Return the tree of the last clustering."""
        return self._drawing.to_dict() if self._drawing is not None else {}

    def figures(self) -> Mapping[str, float]:
        """Return the common model's figures while there are no clusters."""
        return super().figures() if self.clusters else self.inner.figures()

    def state(self) -> base.State:
        """Return the clusters, their vectors and the tree."""
        values: dict[str, base.Value] = {"clustered": self._clustered}
        own = base.State({"means": self._means.reshape(-1)}, values)
        drawn = base.State() if self._drawing is None else self._drawing.state().nested("drawing")
        return own | drawn | super().state()

    def restore(self, state: base.State) -> None:
        """Take all of it back."""
        super().restore(state)
        self._clustered = int(state.values["clustered"] or 0)
        self._means = state.arrays["means"].astype(np.float64)
        self._means = self._means.reshape(len(self.clusters), -1) if self.clusters else self._means
        self._drawing = Drawing.of_state(state.under("drawing"))


class Arrivals(ByCluster):
    """Updates by cluster, and the vectors of clients that have none yet."""

    def __init__(
        self, owner: AdaptiveClusters, vector: Callable[[Update], Float64], context: RoundContext
    ) -> None:
        super().__init__(owner, context)
        self._known = owner.assignment
        self._vector = vector
        self.arrived: dict[str, Float64] = {}

    def add(self, update: Update) -> None:
        """Measure an update of a client without a cluster; hand on any other."""
        if update.client in self._known:
            super().add(update)
        elif update.num_examples:
            self.arrived[update.client] = self._vector(update)

    def merge(self, other: Arrivals) -> None:
        """Take in another node's streams and vectors."""
        super().merge(other)
        self.arrived.update(other.arrived)
