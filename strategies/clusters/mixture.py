"""One round of FedDAA: the means of all learners, or the clients' prototypes."""

from __future__ import annotations

from typing import Self

import numpy as np
import numpy.typing as npt

from models.stacked import taken_apart
from strategies.aggregation.mean import WeightedMean
from strategies.rounds.context import RoundContext, Update

Float = npt.NDArray[np.float64]


class MeanOfLearners:
    """The running mean of each learner, and how each client's labels spread over them.

    Parameters
    ----------
    count, size : int
        Number of learners, and of each one's numbers.
    by_share : bool
        Weigh a client by its examples in the learner, n_i pi_{i,m}; else by all, n_i.
    context : RoundContext
    """

    def __init__(self, count: int, size: int, by_share: bool, context: RoundContext) -> None:
        self.means = [WeightedMean(size) for _ in range(count)]
        self.masses: dict[str, Float] = {}
        self._by_share = by_share
        self._context = context

    def add(self, update: Update) -> None:
        """Add a client's learners; one that learned from nothing is as if not there."""
        learners, tables = taken_apart(update.arrays)
        masses = np.maximum(tables["labels"].astype(np.float64), 0.0)
        total = float(masses.sum())
        if not update.num_examples or total <= 0:
            return
        masses *= self._examples(update) / total
        for mean, learner, mass in zip(self.means, learners, masses, strict=True):
            weight = float(mass.sum()) if self._by_share else float(masses.sum())
            mean.add(learner.vector, weight)
        self.masses[update.client] = masses

    def merge(self, other: Self) -> None:
        """Add another node's sums."""
        for mean, more in zip(self.means, other.means, strict=True):
            mean.merge(more)
        self.masses.update(other.masses)

    def _examples(self, update: Update) -> float:
        """Return n_i, with the examples of the slot before where it trained on them too."""
        n = float(update.num_examples)
        roster = self._context.roster
        known = roster[update.client].examples if update.client in roster else None
        before = n if known is None else float(known)
        used = min(max(update.metrics.get("trained-on", n), n), n + before)
        return update.weight * used / n


class Prototypes:
    """What clients answered to the reference model, by client."""

    def __init__(self) -> None:
        self._found: dict[str, Update] = {}

    def add(self, update: Update) -> None:
        """Keep a client's prototypes; of no examples there are none."""
        if update.num_examples:
            self._found[update.client] = update

    def merge(self, other: Self) -> None:
        """Take in another node's clients."""
        self._found.update(other._found)

    def in_order(self, context: RoundContext) -> list[Update]:
        """Return them in roster order."""
        return list(context.roster.in_order(self._found.values()))
