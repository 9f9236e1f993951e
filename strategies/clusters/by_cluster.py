"""One round's updates, each on its way into its cluster's own aggregation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from strategies.hooks import Aggregation
from strategies.rounds.context import RoundContext, Update

Float64 = npt.NDArray[np.float64]


class Owner(Protocol):
    """What the two aggregations ask of a clustered method."""

    def told(self, update: Update, context: RoundContext) -> int | None:
        """Return the cluster that an update belongs to; None where it counts nowhere."""

    def weighed(self, update: Update) -> Update:
        """Return an update with the weight that it has in its cluster."""

    def begin_in(self, cluster: int, context: RoundContext) -> Aggregation:
        """Open a cluster's own aggregation."""


class ByCluster:
    """Streams each update into its cluster's aggregation, which is known when it comes.

    As linear as the rule inside: what that forgets at once is kept nowhere.

    Parameters
    ----------
    owner : Owner
    context : RoundContext

    Attributes
    ----------
    parts : dict
        The open aggregations, by cluster.
    told : dict
        The cluster of each client that took part.
    """

    def __init__(self, owner: Owner, context: RoundContext) -> None:
        self._owner = owner
        self._context = context
        self.parts: dict[int, Any] = {}
        self.told: dict[str, int] = {}

    def add(self, update: Update) -> None:
        """Give an update to its cluster; one that learned from nothing is as if not there."""
        cluster = self._owner.told(update, self._context) if update.num_examples else None
        if cluster is None:
            return
        if cluster not in self.parts:
            self.parts[cluster] = self._owner.begin_in(cluster, self._context)
        self.told[update.client] = cluster
        self.parts[cluster].add(self._owner.weighed(update))

    def merge(self, other: Self) -> None:
        """Take in another node's streams, cluster by cluster."""
        self.told.update(other.told)
        for cluster, part in other.parts.items():
            if cluster in self.parts:
                self.parts[cluster].merge(part)
            else:
                self.parts[cluster] = part


class Collected:
    """Keeps all updates of a round (float32, as they came) until the clusters are known."""

    def __init__(self) -> None:
        self._updates: dict[str, Update] = {}

    def add(self, update: Update) -> None:
        """Keep an update; one that learned from nothing is as if not there."""
        if update.num_examples:
            self._updates[update.client] = update

    def merge(self, other: Self) -> None:
        """Take in another node's updates."""
        self._updates.update(other._updates)

    def in_order(self, context: RoundContext) -> Mapping[str, Update]:
        """Return the updates by client, in roster order."""
        return {u.client: u for u in context.roster.in_order(self._updates.values())}


class Measured:
    """The vectors of a round's updates, and where they are asked for the updates themselves.

    Parameters
    ----------
    vector : callable
        ``(update) -> ndarray, shape (d,)``.
    keep : bool
        Keep the updates too (float32, as they came).

    Attributes
    ----------
    updates : dict of str to Update
    """

    def __init__(self, vector: Callable[[Update], Float64], keep: bool) -> None:
        self._vector = vector
        self._keep = keep
        self._vectors: dict[str, Float64] = {}
        self.updates: dict[str, Update] = {}

    def add(self, update: Update) -> None:
        """Measure an update; one that learned from nothing is as if not there."""
        if update.num_examples:
            self._vectors[update.client] = self._vector(update)
            if self._keep:
                self.updates[update.client] = update

    def merge(self, other: Self) -> None:
        """Take in another node's vectors."""
        self._vectors.update(other._vectors)
        self.updates.update(other.updates)

    def in_order(self, context: RoundContext) -> Mapping[str, Float64]:
        """Return the vectors by client, in roster order."""
        return {c: self._vectors[c] for c in context.roster.ids if c in self._vectors}
