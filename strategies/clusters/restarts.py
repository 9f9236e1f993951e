"""Several starts, tried one after the other; the one of least loss goes on.

Each start has clusters of its own, so that whatever the rules inside keep is apart.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from models.schema import NamedArrays
from strategies import base
from strategies.clusters.clustered import Clustered
from strategies.clusters.features import FeatureOptions
from strategies.rounds.context import RoundContext


class RestartOptions(FeatureOptions):
    """Options of methods that may begin badly."""

    restarts: Annotated[int, Field(ge=1, description="starts that are tried")] = 1
    restart_rounds: Annotated[int, Field(ge=2, description="rounds that each start gets")] = 3


class Restarting(Clustered):
    """Base of methods that try several starts.

    Attributes
    ----------
    start_number : int
        Of the start that is tried, from 0.
    fresh : bool
        Nobody has taken part since it began.
    """

    Options: ClassVar[type[base.Options]] = RestartOptions
    options: RestartOptions

    @abstractmethod
    def open_start(self, server_round: int) -> None:
        """Open the clusters of a start."""

    def initialise(self, arrays: NamedArrays) -> None:
        """Begin with the first start."""
        super().initialise(arrays)
        self.start_number = 0
        self._best: dict[int, base.Strategy] = {}
        self._best_assignment: dict[str, int] = {}
        self._best_loss = np.inf
        self._begin_start()

    def _begin_start(self, server_round: int = 0) -> None:
        self.fresh = True
        self._take({}, {})
        self.open_start(server_round)

    def consider(self, loss: float | None, context: RoundContext) -> None:
        """Where a start's time is over, keep the better of it and the best; begin the next one.

        Parameters
        ----------
        loss : float or None
            Of the start that is tried, in this round; None if nobody said.
        context : RoundContext
        """
        starts = self.options.restarts
        due = context.round // self.options.restart_rounds
        if starts == 1 or self.start_number >= min(starts, due):
            return
        loss = np.inf if loss is None else loss
        if not self._best or loss < self._best_loss:
            self._best, self._best_assignment = self.clusters, self._assignment
            self._best_loss = loss
        self.start_number += 1
        if self.start_number < starts:
            self._begin_start(context.round)
            return
        self._take(self._best, self._best_assignment)
        self._best, self._best_assignment = {}, {}

    def _take(self, clusters: dict[int, base.Strategy], assignment: dict[str, int]) -> None:
        self.clusters, self._assignment = clusters, assignment
        self._left_behind, self._views = {}, None

    def forget(self, client: str, server_round: int) -> None:
        """Drop the client from the best start so far, too."""
        super().forget(client, server_round)
        cluster = self._best_assignment.pop(client, None)
        if cluster is not None:
            self._best[cluster].forget(client, server_round)

    def saved(self, oldest: int) -> None:
        """Tell the rules of the best start so far, too."""
        super().saved(oldest)
        for rule in self._best.values():
            rule.saved(oldest)

    def state(self) -> base.State:
        """Return the clusters, and where the search for a start is."""
        values: dict[str, base.Value] = {
            "start": self.start_number,
            "fresh": self.fresh,
            "best": json.dumps(sorted(self._best)),
            "best-assignment": json.dumps(self._best_assignment),
            "best-loss": float(self._best_loss) if np.isfinite(self._best_loss) else None,
        }
        found = base.State(values=values) | super().state()
        for cluster, rule in self._best.items():
            found |= rule.state().nested(f"best-{cluster}")
        return found

    def restore(self, state: base.State) -> None:
        """Take all of it back."""
        super().restore(state)
        self.start_number, self.fresh = int(state.values["start"] or 0), bool(state.values["fresh"])
        self._best_assignment = json.loads(str(state.values["best-assignment"]))
        best = state.values["best-loss"]
        self._best_loss = np.inf if best is None else float(best)
        self._best = {}
        for cluster in json.loads(str(state.values["best"])):
            self._best[cluster] = self.instance(cluster)
            self._best[cluster].restore(state.under(f"best-{cluster}"))
