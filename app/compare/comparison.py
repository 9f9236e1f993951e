"""A comparison as a whole: its rows, its pairs, and what follows in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.compare.meaning import Meaning
from app.compare.outcomes import (
    Measure,
    Outcome,
    default_target,
    measures_of,
    with_target,
)
from app.compare.statistics import Interval, Pair, compare_pairs, interval
from app.report.wording import counted, percent, points

HEADLINE = "client_accuracy_mean"


@dataclass(frozen=True)
class Row:
    """One method: its scores over seeds, by the measures' keys."""

    method: str
    seeds: tuple[int, ...]
    scores: Mapping[str, Interval]


@dataclass(frozen=True)
class Comparison:
    """Everything that the table and the report say.

    Attributes
    ----------
    name : str
        Of the scenario.
    outcomes : tuple of Outcome
    measures : tuple of Measure
        The table's columns.
    rows : tuple of Row
        Best first, by the clients' mean accuracy.
    pairs : tuple of Pair
        On the clients' mean accuracy.
    target : float or None
        Accuracy in [0, 1] up to which bytes are counted.
    missing : tuple of str
        Runs that are not finished, in words.
    settings : mapping
        The scenario's, without those of the methods.
    meanings : tuple of Meaning
        What the methods do.
    """

    name: str
    outcomes: tuple[Outcome, ...]
    measures: tuple[Measure, ...]
    rows: tuple[Row, ...]
    pairs: tuple[Pair, ...]
    target: float | None
    missing: tuple[str, ...]
    settings: Mapping[str, object]
    meanings: tuple[Meaning, ...] = ()

    @property
    def seeds(self) -> tuple[int, ...]:
        """All seeds of which a run is finished."""
        return tuple(sorted({one.seed for one in self.outcomes}))

    def of(self, method: str) -> list[Outcome]:
        """Return the runs of a method, by seed."""
        found = [one for one in self.outcomes if one.method == method]
        return sorted(found, key=lambda one: one.seed)


def make_comparison(
    name: str,
    outcomes: Sequence[Outcome],
    missing: Sequence[str],
    settings: Mapping[str, object],
    target: float | None = None,
    meanings: Sequence[Meaning] = (),
) -> Comparison:
    """Put runs together.

    Parameters
    ----------
    name : str
    outcomes : sequence of Outcome
    missing : sequence of str
    settings : mapping
    target : float, optional
        Accuracy in (0, 1]; by default the largest that all methods but ``local`` reached.
    meanings : sequence of Meaning, optional
    """
    target = default_target(outcomes) if target is None else target
    complete = with_target(outcomes, target) if target is not None else list(outcomes)
    rows = [_row(method, complete) for method in dict.fromkeys(o.method for o in complete)]
    rows.sort(key=lambda row: -row.scores[HEADLINE].mean if HEADLINE in row.scores else 1.0)
    order = {row.method: place for place, row in enumerate(rows)}
    ranked = sorted(complete, key=lambda one: (order[one.method], one.seed))
    return Comparison(
        name,
        tuple(ranked),
        tuple(measures_of(complete)),
        tuple(rows),
        tuple(compare_pairs(ranked, HEADLINE)),
        target,
        tuple(missing),
        settings,
        tuple(meanings),
    )


def _row(method: str, outcomes: Sequence[Outcome]) -> Row:
    own = [one for one in outcomes if one.method == method]
    keys = dict.fromkeys(key for one in own for key in one.scores)
    scores = {key: interval([o.scores[key] for o in own if key in o.scores]) for key in keys}
    return Row(method, tuple(sorted(one.seed for one in own)), scores)


def findings(comparison: Comparison) -> list[str]:
    """Say in words which method leads, and which cannot be told apart from which."""
    rows = [row for row in comparison.rows if HEADLINE in row.scores]
    if not rows:
        return ["No run is finished yet."]
    best = rows[0]
    reached = percent(best.scores[HEADLINE].mean)
    count = len(comparison.seeds)
    said = [
        f"Over {counted(count, 'seed')}, {best.method} has the largest mean accuracy over clients: "
        f"{reached}."
    ]
    if count < 2:
        said.append(
            "With one seed no two methods can be told apart: training has chance in it. "
            "Take --seeds 3 or more."
        )
        return said + _gains(comparison)
    behind = {pair.other: pair for pair in comparison.pairs if pair.one == best.method}
    alike = [other for other, pair in behind.items() if not pair.distinguishable]
    clear = [
        f"{other} ({points(-pair.difference.mean)})"
        for other, pair in behind.items()
        if pair.distinguishable
    ]
    if alike:
        said.append(f"Not distinguishable from {best.method}: {', '.join(alike)}.")
    if clear:
        said.append(f"Behind it beyond chance: {', '.join(clear)}.")
    others = [
        f"{pair.one} and {pair.other}"
        for pair in comparison.pairs
        if pair.one != best.method and not pair.distinguishable
    ]
    if len(rows) > 2 and not any(pair.distinguishable for pair in comparison.pairs):
        said[-1] = "No two of these methods can be distinguished."
    elif others:
        said.append(f"Not distinguishable from each other: {'; '.join(others)}.")
    said += [
        f"{pair.one} and {pair.other} gave every client the same accuracy: here they do the same."
        for pair in comparison.pairs
        if pair.same
    ]
    if behind:
        said.append(
            f"Distinguishable means p < 0.05 in a paired t-test over {counted(count, 'seed')}, "
            "adjusted by Holm for all pairs; with few seeds only large differences are."
        )
    return said + _gains(comparison)


def _gains(comparison: Comparison) -> list[str]:
    """Say for which methods a client had better stay alone."""
    worse = [
        f"{row.method} ({percent(row.scores['clients_that_gain'].mean, 0)})"
        for row in comparison.rows
        if "clients_that_gain" in row.scores and row.scores["clients_that_gain"].mean < 0.5
    ]
    if not worse:
        return []
    return [f"Fewer than half of the clients fare better than alone with: {', '.join(worse)}."]
