"""What the runs of a comparison came to, method by method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from app.compare.cells import Cell
from app.compare.contestants import LOCAL
from app.report.reading import read_run
from app.report.record import RunRecord, mean
from app.report.scores import score_after, totals


@dataclass(frozen=True)
class Outcome:
    """One finished run.

    Attributes
    ----------
    method : str
    seed : int
    scores : mapping of str to float
        By the keys of `MEASURES`; what the run does not know is missing.
    clients : mapping of str to float
        Accuracy of each client in [0, 1], with the model that it would use.
    curve : sequence of (int, int, float)
        Round, bytes moved so far, clients' mean accuracy.
    """

    method: str
    seed: int
    scores: Mapping[str, float]
    clients: Mapping[str, float]
    curve: Sequence[tuple[int, int, float]]


@dataclass(frozen=True)
class Measure:
    """A column of the table.

    Attributes
    ----------
    key : str
    label : str
    unit : str
        percent, points, bytes, seconds or count.
    better : int
        1 where more is better, -1 where less is, 0 where neither.
    """

    key: str
    label: str
    unit: str
    better: int = 1


MEASURES: tuple[Measure, ...] = (
    Measure("accuracy", "Server accuracy", "percent"),
    Measure("client_accuracy_mean", "Mean client", "percent"),
    Measure("client_accuracy_worst_decile", "Worst decile", "percent"),
    Measure("gain_over_local", "Gain over local", "points"),
    Measure("clients_that_gain", "Clients that gain", "percent"),
    Measure("bytes", "Bytes moved", "bytes", -1),
    Measure("bytes_to_target", "Bytes to target", "bytes", -1),
    Measure("seconds", "Time", "seconds", -1),
    Measure("rejected", "Refused replies", "count", -1),
)
_BY_GROUP = {
    "worst_group_accuracy": ("worst group", 1),
    "es_accuracy": ("equity-scaled accuracy", 1),
    "es_auc": ("equity-scaled AUC", 1),
    "demographic_parity_difference": ("demographic-parity difference", -1),
    "equalized_odds_difference": ("equalised-odds difference", -1),
}


def read_outcomes(cells: Sequence[Cell]) -> list[Outcome]:
    """Read all runs that are finished; gains are over the local run of the same seed.

    Raises
    ------
    RunDirectoryError
        A file of one cannot be understood.
    """
    records = {(c.method, c.seed): read_run(c.folder) for c in cells if c.finished}
    alone = {seed: _accuracies(r) for (method, seed), r in records.items() if method == LOCAL.name}
    return [
        _outcome(method, seed, record, alone.get(seed, {}))
        for (method, seed), record in records.items()
    ]


def _accuracies(record: RunRecord) -> dict[str, float]:
    return {row.client: row.after for row in record.clients if row.after is not None}


def _outcome(method: str, seed: int, record: RunRecord, alone: Mapping[str, float]) -> Outcome:
    clients, spent = _accuracies(record), totals(record)
    known = ("accuracy", "client_accuracy_mean", "client_accuracy_worst_decile")
    found = {key: score_after(record, key) for key in known}
    gains = [value - alone[client] for client, value in clients.items() if client in alone]
    if gains and method != LOCAL.name:
        found["gain_over_local"] = mean(gains)
        found["clients_that_gain"] = sum(gain > 0 for gain in gains) / len(gains)
    found["bytes"] = float(spent.bytes_up + spent.bytes_down)
    found["seconds"] = spent.seconds
    found["rejected"] = float(spent.rejected)
    for column, view in record.fairness[1].items():
        found |= {f"{column}: {key}": view.figures.get(key) for key in _BY_GROUP}
    moved = accumulate(line.bytes_up + line.bytes_down for line in record.rounds)
    curve = [
        (line.number, so_far, line.scores["client_accuracy_mean"])
        for line, so_far in zip(record.rounds, moved, strict=True)
        if "client_accuracy_mean" in line.scores
    ]
    scores = {key: value for key, value in found.items() if value is not None}
    return Outcome(method, seed, scores, clients, curve)


def with_target(outcomes: Sequence[Outcome], target: float) -> list[Outcome]:
    """Add what each run moved until its clients' mean accuracy reached a target in [0, 1]."""
    found = []
    for one in outcomes:
        reached = [moved for _, moved, value in one.curve if value >= target]
        more = {"bytes_to_target": float(reached[0])} if reached else {}
        found.append(replace(one, scores={**one.scores, **more}))
    return found


def default_target(outcomes: Sequence[Outcome]) -> float | None:
    """Return the accuracy that every method but local reaches with every seed, at its best."""
    best = [
        max(v for *_, v in one.curve) for one in outcomes if one.curve and one.method != "local"
    ]
    return min(best, default=None)


def measures_of(outcomes: Sequence[Outcome]) -> list[Measure]:
    """Return the columns that some run knows, figures by group last."""
    seen = dict.fromkeys(key for one in outcomes for key in one.scores)
    fixed = [measure for measure in MEASURES if measure.key in seen]
    known = {measure.key for measure in MEASURES}
    groups = []
    for key in seen:
        column, _, figure = key.partition(": ")
        if key not in known:
            words, better = _BY_GROUP[figure]
            groups.append(Measure(key, f"{column}: {words}", "percent", better))
    return fixed + groups
