"""Oracle clusters: one model for each true concept, a baseline.

What clusters could reach if they were known: a scenario that shifts concepts, or lets them drift,
says which concept a client is in, and each concept has a model of its own. Possible in simulation
only, where the scenario is ours.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, ClassVar

from models.errors import ConfigurationError
from models.schema import NamedArrays
from strategies import base
from strategies.clusters.clustered import Clustered
from strategies.rounds.context import RoundContext


class OracleClusters(Clustered):
    """Clients of one concept share a model."""

    about: ClassVar[str] = "baseline: one model for each true concept of a scenario"

    def initialise(self, arrays: NamedArrays) -> None:
        """Start with no concept seen."""
        super().initialise(arrays)
        self._of_concept: dict[int, int] = {}

    def sample(self, context: RoundContext) -> Sequence[str]:
        """Follow every client to its concept, then draw the cohort."""
        self.follow(context)
        return super().sample(context)

    def begin(self, context: RoundContext) -> Any:
        """Stream updates to the concepts as they are in this round."""
        self.follow(context)
        return super().begin(context)

    def follow(self, context: RoundContext) -> None:
        """Put every client where its concept is.

        Raises
        ------
        ConfigurationError
            The scenario has no concepts.
        """
        concepts = {client: context.concept(client) for client in context.roster.ids}
        told = {}
        for client, concept in concepts.items():
            if concept is None:
                raise ConfigurationError(
                    f"strategy: oracle-clusters needs the true concept of every client, and "
                    f"'{client}' has none; give partition-args a shift, or a drift"
                )
            if concept not in self._of_concept:
                self._of_concept[concept] = self.add_cluster(server_round=context.round)
            told[client] = self._of_concept[concept]
        self.settle(told, context.round)

    def state(self) -> base.State:
        """Return which cluster a concept has, and the clusters."""
        known = json.dumps(sorted(self._of_concept.items()))
        return base.State(values={"concepts": known}) | super().state()

    def restore(self, state: base.State) -> None:
        """Take them back."""
        super().restore(state)
        self._of_concept = dict(json.loads(str(state.values["concepts"])))
