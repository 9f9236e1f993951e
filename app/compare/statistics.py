"""Intervals over seeds and paired comparisons.

Runs of one seed share partition, first model and order of data, so methods are compared by the
differences within a seed: Student's t for paired samples, or the exact sign test where all seeds
agree on one difference, which leaves t without a value; p-values adjusted by Holm's step-down for
all pairs of methods. With few seeds this finds only large differences, and with one seed none. A
second, weaker view asks whether the same clients fare better: Wilcoxon's signed-rank test over the
clients' mean differences, which says nothing about another partition or other seeds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from scipy import stats

from app.compare.outcomes import Outcome
from app.report.record import mean

LEVEL = 0.05
_SAME = 1e-9
"""Differences of accuracies that are no more apart are the same but for rounding."""


@dataclass(frozen=True)
class Interval:
    """A mean over seeds, and half of the width of its 95 % interval.

    ``half`` is None with one value.
    """

    mean: float
    half: float | None
    count: int


def interval(values: Sequence[float]) -> Interval:
    """Return the mean of at least one value with Student's 95 % interval."""
    if len(values) < 2:
        return Interval(mean(values), None, len(values))
    spread = float(np.std(values, ddof=1)) / math.sqrt(len(values))
    half = float(stats.t.ppf(1 - LEVEL / 2, len(values) - 1)) * spread
    return Interval(mean(values), half, len(values))


@dataclass(frozen=True)
class Pair:
    """Two methods on one measure.

    Attributes
    ----------
    one, other : str
    difference : Interval
        Of `one` minus `other`, over the seeds that both have.
    p_value : float or None
        Of the paired test over seeds, adjusted by Holm; None with fewer than two seeds.
    clients_better : float or None
        Share of the clients that fare better with `one`; None where clients are not known.
    clients_p_value : float or None
        Of Wilcoxon's signed-rank test over clients, not adjusted.
    same : bool
        Whether every client has the same score with both, in every seed.
    """

    one: str
    other: str
    difference: Interval
    p_value: float | None
    clients_better: float | None = None
    clients_p_value: float | None = None
    same: bool = False

    @property
    def distinguishable(self) -> bool:
        """Whether seeds tell them apart at the level of 5 %."""
        return self.p_value is not None and self.p_value < LEVEL


def compare_pairs(outcomes: Sequence[Outcome], key: str) -> list[Pair]:
    """Compare every pair of methods on a score.

    Parameters
    ----------
    outcomes : sequence of Outcome
    key : str
        Of ``Outcome.scores``.
    """
    scores: dict[str, dict[int, float]] = {}
    clients: dict[str, dict[int, Mapping[str, float]]] = {}
    for one in outcomes:
        clients.setdefault(one.method, {})[one.seed] = one.clients
        if key in one.scores:
            scores.setdefault(one.method, {})[one.seed] = one.scores[key]
    pairs = []
    for first, second in combinations(scores, 2):
        seeds = sorted(scores[first].keys() & scores[second].keys())
        differences = [scores[first][s] - scores[second][s] for s in seeds]
        if differences:
            found = Pair(first, second, interval(differences), _paired_t(differences))
            pairs.append(_over_clients(found, clients[first], clients[second], seeds))
    adjusted = _holm([pair.p_value for pair in pairs])
    return [replace(pair, p_value=p) for pair, p in zip(pairs, adjusted, strict=True)]


def _paired_t(differences: Sequence[float]) -> float | None:
    if len(differences) < 2:
        return None
    if np.ptp(differences) < _SAME:
        # Accuracies are counts, so a few seeds may well agree: t has no value then, signs have one.
        return 1.0 if abs(differences[0]) < _SAME else 2.0 ** (1 - len(differences))
    return float(stats.ttest_1samp(differences, 0.0).pvalue)


def _over_clients(
    pair: Pair,
    first: Mapping[int, Mapping[str, float]],
    second: Mapping[int, Mapping[str, float]],
    seeds: Sequence[int],
) -> Pair:
    """Add how many clients fare better with the first method, on average over the seeds."""
    names = set.intersection(*(first[s].keys() & second[s].keys() for s in seeds))
    means = [mean([first[s][c] - second[s][c] for s in seeds]) for c in sorted(names)]
    if not means:
        return pair
    better = sum(value > 0 for value in means) / len(means)
    p_value = float(stats.wilcoxon(means).pvalue) if any(means) else 1.0
    same = all(first[s][c] == second[s][c] for s in seeds for c in names)
    return replace(pair, clients_better=better, clients_p_value=p_value, same=same)


def _holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Return p-values adjusted by Holm's step-down; None stays None."""
    known = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, place) in enumerate(known):
        largest = max(largest, min(1.0, (len(known) - rank) * p))
        adjusted[place] = largest
    return adjusted
