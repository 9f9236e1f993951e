"""A wrapper with several models: each cluster has an instance of its own of the rule inside.

So any aggregation runs inside a cluster (``ifca > fedstale > fedit``), and sees of the federation
only the cluster's members: their shares, their probabilities, their memory. Numbers of clusters
are never used twice, so that a number in a table or a folder means one cluster for the whole run.

A method says which cluster an update belongs to. Where that is known when the update comes,
`ByCluster` streams it on; where all updates are needed first, they are `Collected`, and
`feed` hands them on afterwards, in the same round.
"""

from __future__ import annotations

import copy
import json
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from models.errors import ConfigurationError
from models.schema import NamedArrays
from strategies import base
from strategies.clusters.by_cluster import ByCluster
from strategies.fedavg import FedAvg
from strategies.rounds.context import Instruction, RoundContext, Update
from strategies.transport.roster import natural_key


class Clustered(base.Wrapper):
    """Base of methods in which each cluster of clients has a model.

    `inner` serves the clients that have no cluster; what runs in a cluster is a copy of it.

    Attributes
    ----------
    clusters : dict of int to Strategy
        The rule inside, by cluster.
    """

    has_global_model: ClassVar[bool] = False
    several_models: ClassVar[bool] = True
    needs_fresh: ClassVar[str] = "clients are told apart by what they did in one round"
    default_inner: ClassVar[type[base.Strategy] | None] = FedAvg

    def __init__(self, inner: base.Strategy | None = None, **options: Any) -> None:
        super().__init__(inner, **options)
        for part in base.layers(self.inner):
            if not part.clusterable:
                raise ConfigurationError(
                    f"strategy: {type(part).__name__} cannot run once a cluster, inside "
                    f"{type(self).__name__}; take fedavg, fedit or flexlora there"
                )
        self._pattern = copy.deepcopy(self.inner)
        self._folder: Path | None = None

    @property
    def is_affine(self) -> bool:
        """An update reaches only its cluster."""
        return False

    def keep_in(self, folder: Path) -> None:
        """Keep what each cluster's rule keeps in a folder of its own."""
        self._folder = folder
        super().keep_in(folder)

    def initialise(self, arrays: NamedArrays) -> None:
        """Start without clusters."""
        super().initialise(arrays)
        self._first = arrays
        self.clusters: dict[int, base.Strategy] = {}
        self._assignment: dict[str, int] = {}
        self._next = 0
        self._moves = 0
        # Who moved between two rounds of training: where what is known of it still lies.
        self._left_behind: dict[str, int] = {}
        self._views: tuple[RoundContext, dict[int, RoundContext]] | None = None

    # ---- clusters ------------------------------------------------------------------------

    def instance(self, cluster: int) -> base.Strategy:
        """Return a copy of the rule inside, started, over the cluster's own files."""
        made = copy.deepcopy(self._pattern)
        if self._folder is not None:
            made.keep_in(self._place(cluster))
        made.initialise(self._first)
        return made

    def _place(self, cluster: int) -> Path:
        assert self._folder is not None
        return self._folder / f"cluster-{cluster}"

    def add_cluster(self, arrays: NamedArrays | None = None, server_round: int = 0) -> int:
        """Open a cluster under the next number.

        Parameters
        ----------
        arrays : NamedArrays, optional
            Its model, of the schema of `arrays`; the first one by default.
        server_round : int
            The round that needs it; 0 before the first.
        """
        cluster, self._next = self._next, self._next + 1
        if self._folder is not None and server_round:
            # What a run that was killed left behind under this number.
            shutil.rmtree(self._place(cluster), ignore_errors=True)
        made = self.instance(cluster)
        if arrays is not None:
            made.arrays = arrays
        self.clusters[cluster] = made
        return cluster

    def members(self, cluster: int) -> list[str]:
        """Return the clients of a cluster, in natural order of their ids."""
        return [client for client, number in self._assignment.items() if number == cluster]

    def settle(self, told: Mapping[str, int], server_round: int) -> None:
        """Put clients into clusters; what a cluster knew of one that moves away is forgotten."""
        merged = {**self._assignment, **told}
        for client in [*self._left_behind, *(c for c in told if c not in self._left_behind)]:
            before = self._left_behind.get(client, self._assignment.get(client))
            if before is not None and before != merged.get(client):
                self._moves += 1
                if before in self.clusters:
                    self.clusters[before].forget(client, server_round)
        self._left_behind = {}
        self._assignment = {client: merged[client] for client in sorted(merged, key=natural_key)}
        self._views = None

    def note(self, client: str, cluster: int) -> None:
        """Put a client into a cluster between two rounds; what follows from it does so later."""
        before = self._assignment.get(client)
        if before is not None:
            self._left_behind.setdefault(client, before)
        self._assignment[client] = cluster
        self._views = None

    def release(self, client: str, server_round: int) -> None:
        """Take a client out of its cluster, which forgets what it knew of it."""
        cluster = self._assignment.pop(client, None)
        for place in {cluster, self._left_behind.pop(client, cluster)}:
            if place in self.clusters:
                self.clusters[place].forget(client, server_round)
        self._views = None

    def view(self, cluster: int | None, context: RoundContext) -> RoundContext:
        """Return the round as the rule of a cluster sees it: only the members are there."""
        if cluster is None:
            return context
        if self._views is None or self._views[0] is not context:
            self._views = (context, {})
        views = self._views[1]
        if cluster not in views:
            views[cluster] = self.part_of(cluster, context)
        return views[cluster]

    def part_of(self, cluster: int, context: RoundContext) -> RoundContext:
        """Return the part of a round that is a cluster's; by default all are drawn together."""
        return context.within(self.members(cluster))

    def rule_of(self, cluster: int | None) -> base.Strategy:
        """Return the rule of a cluster; of no cluster, the one for those without."""
        return self.inner if cluster is None else self.clusters[cluster]

    # ---- what a method says --------------------------------------------------------------

    def told(self, update: Update, context: RoundContext) -> int | None:
        """Return the cluster that an update belongs to; None where it counts nowhere."""
        return self._assignment.get(update.client)

    def weighed(self, update: Update) -> Update:
        """Return an update with the weight that it has in its cluster."""
        return update

    def conclude_in(self, cluster: int, aggregation: Any, context: RoundContext) -> None:
        """Turn a cluster's finished aggregation into its next model."""
        self.clusters[cluster].conclude(aggregation, context)

    def step_by(self, share: float, cluster: int, aggregation: Any, context: RoundContext) -> None:
        """Conclude in a cluster, w_c <- w_c + share (what comes of it - w_c)."""
        rule = self.clusters[cluster]
        before = rule.arrays
        rule.conclude(aggregation, context)
        old = before.vector.astype(np.float64)
        rule.arrays = before.replace(old + share * (rule.arrays.vector - old))

    # ---- the hooks -----------------------------------------------------------------------

    @property
    def assignment(self) -> Mapping[str, int]:
        """The cluster of every client that has one."""
        return dict(self._assignment)

    @property
    def model(self) -> NamedArrays:
        """The model of the largest cluster, for a caller that can take only one."""
        sizes = Counter(self._assignment.values())
        largest = max(sizes, key=lambda cluster: (sizes[cluster], -cluster), default=None)
        return self.rule_of(largest).model

    @property
    def clustered_models(self) -> Mapping[int, NamedArrays]:
        """The clusters' models; none where a part of each stays with the clients."""
        if not self.inner.serves_all:
            return {}
        return {cluster: rule.exported for cluster, rule in self.clusters.items()}

    def instruct(self, client: str, context: RoundContext) -> Instruction:
        """Send the model of the client's cluster."""
        cluster = self._assignment.get(client)
        return self.rule_of(cluster).instruct(client, self.view(cluster, context))

    def instruct_evaluation(self, client: str, context: RoundContext) -> Instruction:
        """Evaluate the model of the client's cluster."""
        cluster = self._assignment.get(client)
        return self.rule_of(cluster).instruct_evaluation(client, self.view(cluster, context))

    def model_for(self, client: str) -> NamedArrays:
        """Return the model of the client's cluster."""
        return self.rule_of(self._assignment.get(client)).model_for(client)

    def begin_in(self, cluster: int, context: RoundContext) -> base.Aggregation:
        """Open a cluster's own aggregation."""
        return self.clusters[cluster].begin(self.view(cluster, context))

    def begin(self, context: RoundContext) -> Any:
        """Open an aggregation that streams each update to its cluster."""
        return ByCluster(self, context)

    def conclude(self, aggregation: Any, context: RoundContext) -> None:
        """Conclude in each cluster of which somebody took part; the others stay as they are."""
        self._moves = 0
        self.settle(aggregation.told, context.round)
        self._conclude_parts(aggregation, context)

    def feed(self, updates: Iterable[Update], context: RoundContext) -> None:
        """Aggregate updates that were collected, each in the cluster that it has now."""
        parts = ByCluster(self, context)
        for update in updates:
            parts.add(update)
        self._conclude_parts(parts, context)

    def _conclude_parts(self, parts: ByCluster, context: RoundContext) -> None:
        for cluster in sorted(parts.parts):
            self.conclude_in(cluster, parts.parts[cluster], self.view(cluster, context))

    def figures(self) -> Mapping[str, float]:
        """Return how many clusters have members, who moved, and each cluster's own figures."""
        taken = set(self._assignment.values())
        own = {"clusters": float(len(taken)), "moves": float(self._moves)}
        for cluster in sorted(taken & self.clusters.keys()):
            for name, value in self.clusters[cluster].figures().items():
                own[f"{name}/cluster-{cluster}"] = value
        return own

    def forget(self, client: str, server_round: int) -> None:
        """Drop the client from its cluster."""
        super().forget(client, server_round)
        self.release(client, server_round)

    def saved(self, oldest: int) -> None:
        """Tell the rule of every cluster."""
        super().saved(oldest)
        for rule in self.clusters.values():
            rule.saved(oldest)

    def state(self) -> base.State:
        """Return who is where, and every cluster's state."""
        values: dict[str, base.Value] = {
            "clusters": json.dumps(sorted(self.clusters)),
            "assignment": json.dumps(self._assignment),
            "left-behind": json.dumps(self._left_behind),
            "next": self._next,
        }
        found = base.State(values=values) | super().state()
        for cluster, rule in self.clusters.items():
            found |= rule.state().nested(f"cluster-{cluster}")
        return found

    def restore(self, state: base.State) -> None:
        """Open the clusters again, each with its state."""
        super().restore(state)
        self._assignment = json.loads(str(state.values["assignment"]))
        self._left_behind = json.loads(str(state.values["left-behind"]))
        self._next = int(state.values["next"] or 0)
        self.clusters = {}
        for cluster in json.loads(str(state.values["clusters"])):
            self.clusters[cluster] = self.instance(cluster)
            self.clusters[cluster].restore(state.under(f"cluster-{cluster}"))
        self._views = None
