"""How clients differ: labels, sizes, features and concepts; pure numbers, each beside its chance.

``chance`` is what the same measure gives when rows are dealt out at random to clients of the same
sizes: small clients differ by luck alone, and only what is above that says something.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]
_DEALS = 20


@dataclass(frozen=True)
class Measured:
    """A measure of the clients, and the mean of the same over random deals of their rows."""

    value: float
    chance: float

    @property
    def excess(self) -> float:
        """How much of the room above chance is taken, in [0, 1] for measures up to 1."""
        room = 1.0 - self.chance
        return max(0.0, (self.value - self.chance) / room) if room > 0 else 0.0


def label_skew(counts: npt.NDArray[np.int64], generator: np.random.Generator) -> Measured:
    """Return the mean total-variation distance of clients' label shares from all clients'.

    Parameters
    ----------
    counts : array, shape (clients, labels)
        Rows of each label.
    generator : numpy Generator
        Of the random deals.
    """
    owners = np.repeat(np.arange(len(counts)), counts.sum(axis=1))
    labels = np.concatenate([np.repeat(np.arange(counts.shape[1]), row) for row in counts])

    def distance(owner: Codes) -> float:
        table = np.zeros(counts.shape)
        np.add.at(table, (owner, labels), 1.0)
        sizes = np.maximum(table.sum(axis=1, keepdims=True), 1.0)
        pooled = table.sum(axis=0) / max(1.0, table.sum())
        return float(0.5 * np.abs(table / sizes - pooled).sum(axis=1).mean())

    return _beside_chance(distance, owners, generator)


def size_skew(sizes: Sequence[int]) -> float:
    """Return Gini's coefficient of the clients' sizes: 0 where all are equal, to 1."""
    ordered = np.sort(np.asarray(sizes, np.float64))
    n, total = len(ordered), ordered.sum()
    if not total:
        return 0.0
    return float((2 * np.arange(1, n + 1) - n - 1) @ ordered / (n * total))


def feature_skew(
    features: Floats, labels: Codes, owners: Codes, generator: np.random.Generator
) -> Measured:
    """Return the share of the features' variance, labels accounted for, that is between clients.

    From each row the mean of its label is taken away first, so that clients who merely hold other
    labels count as alike; what is left is how the same label looks with different clients.

    Parameters
    ----------
    features : array, shape (rows, D)
    labels, owners : array of int, shape (rows,)
    generator : numpy Generator
    """
    rest = features - _means(features, labels)[labels]
    total = float((rest**2).sum())

    def between(owner: Codes) -> float:
        return float((_means(rest, owner)[owner] ** 2).sum()) / total if total else 0.0

    return _beside_chance(between, owners, generator, within=labels)


def concept_conflict(features: Floats, labels: Codes, owners: Codes) -> float:
    """Return how much worse clients are told apart by others' class means than by their own.

    Every client's rows are halved; the class means of one half sort the other half's rows of those
    labels that both sides know. Near 0 where the same features mean the same label everywhere;
    large where clients call the same thing by different names. In [-1, 1]; 0 where no two clients
    share two labels.

    Parameters
    ----------
    features : array, shape (rows, D)
    labels, owners : array of int, shape (rows,)
    """
    halves = {}
    for client in np.unique(owners):
        rows = np.flatnonzero(owners == client)
        of_label = [rows[labels[rows] == label] for label in np.unique(labels[rows])]
        learned, tested = (np.concatenate([r[half::2] for r in of_label]) for half in (0, 1))
        halves[client] = (learned, tested)
    losses: list[float] = []
    for mine, (own_half, tested) in halves.items():
        for other, (foreign, _) in halves.items():
            if mine == other:
                continue
            both = np.intersect1d(labels[own_half], labels[foreign])
            shared = np.intersect1d(both, labels[tested])
            rows = tested[np.isin(labels[tested], shared)]
            if len(shared) < 2 or not len(rows):
                continue
            own = _sorted_right(features, labels, own_half, rows, shared)
            losses.append(own - _sorted_right(features, labels, foreign, rows, shared))
    return float(np.mean(losses)) if losses else 0.0


def _sorted_right(
    features: Floats, labels: Codes, learned: Codes, rows: Codes, shared: Codes
) -> float:
    means = np.stack([features[learned[labels[learned] == c]].mean(axis=0) for c in shared])
    distances = ((features[rows][:, None] - means) ** 2).sum(axis=2)
    return float((shared[distances.argmin(axis=1)] == labels[rows]).mean())


def _means(rows: Floats, groups: Codes) -> Floats:
    """Return the mean row of each group, shape (groups, D)."""
    count = int(groups.max()) + 1
    sums = np.zeros((count, rows.shape[1]))
    np.add.at(sums, groups, rows)
    sizes = np.bincount(groups, minlength=count)[:, None]
    return sums / np.maximum(sizes, 1)


def _beside_chance(
    measure: Callable[[Codes], float],
    owners: Codes,
    generator: np.random.Generator,
    within: Codes | None = None,
) -> Measured:
    """Measure, and measure again over random deals, of the rows of each group in `within`."""
    dealt: list[float] = []
    for _ in range(_DEALS):
        deal = owners.copy()
        for group in np.zeros(1, np.int64) if within is None else np.unique(within):
            rows = np.arange(len(owners)) if within is None else np.flatnonzero(within == group)
            deal[rows] = generator.permutation(owners[rows])
        dealt.append(measure(deal))
    return Measured(measure(owners), float(np.mean(dealt)))
