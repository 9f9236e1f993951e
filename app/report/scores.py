"""The numbers of a run as people compare them: before, after, and beside the baselines."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from app.report.record import ClientRow, RunRecord, mean

Unit = Literal["percent", "number"]

_ROWS: tuple[tuple[str, str, Unit], ...] = (
    ("accuracy", "Server test set: accuracy", "percent"),
    ("macro_f1", "Server test set: macro-F1", "percent"),
    ("loss", "Server test set: loss", "number"),
    ("perplexity", "Server test set: perplexity", "number"),
    ("client_perplexity_mean", "Clients: mean perplexity", "number"),
    ("client_accuracy_mean", "Clients: mean accuracy", "percent"),
    ("client_accuracy_median", "Clients: median accuracy", "percent"),
    ("client_accuracy_worst_decile", "Clients: worst decile", "percent"),
    ("client_accuracy_worst", "Clients: worst client", "percent"),
    ("client_accuracy_shared_mean", "Clients: mean with the shared model", "percent"),
    ("client_accuracy_before_aggregation_mean", "Clients: mean before aggregation", "percent"),
    ("client_accuracy_std", "Clients: standard deviation", "percent"),
)

_BASELINES = {"local": "each client alone", "global": "all data pooled"}
_SHORT_BASELINES = {"local": "Alone", "global": "Pooled"}


@dataclass(frozen=True)
class Score:
    """One row of the score table.

    ``before`` and ``after`` are fractions in [0, 1] where ``unit`` is ``"percent"``;
    ``baselines`` holds the same score at the end of each run that knows it.
    """

    key: str
    label: str
    unit: Unit
    before: float | None
    after: float | None
    baselines: Mapping[str, float]

    @property
    def change(self) -> float | None:
        """After minus before, or None where one of them is unknown."""
        return None if self.before is None or self.after is None else self.after - self.before


@dataclass(frozen=True)
class Totals:
    """What a run cost, over all its rounds."""

    rounds: int
    bytes_up: int
    bytes_down: int
    seconds: float
    rejected: int


def scores(record: RunRecord) -> list[Score]:
    """Return the scores that the run or one of its baselines knows, server first."""
    rows = [
        Score(
            key,
            label.replace("accuracy", "token accuracy") if record.writes_texts else label,
            unit,
            score_before(record, key),
            score_after(record, key),
            {
                name: value
                for name, run in record.baselines.items()
                if (value := score_after(run, key)) is not None
            },
        )
        for key, label, unit in _ROWS
    ]
    return [row for row in rows if row.before is not None or row.after is not None or row.baselines]


def totals(record: RunRecord) -> Totals:
    """Return bytes, seconds, refused replies and training rounds, summed over the run."""
    return Totals(
        rounds=sum(line.number > 0 for line in record.rounds),
        bytes_up=sum(line.bytes_up for line in record.rounds),
        bytes_down=sum(line.bytes_down for line in record.rounds),
        seconds=math.fsum(line.seconds for line in record.rounds),
        rejected=len(record.rejected),
    )


def fedavg_bytes(record: RunRecord) -> int | None:
    """Return what the same clients and rounds would move if the whole adapter were averaged.

    Both ways; None where the adapter's size is not known.
    """
    if record.adapter_bytes is None:
        return None
    return 2 * record.adapter_bytes * sum(line.answered for line in record.rounds)


def score_before(record: RunRecord, key: str) -> float | None:
    """Return a score before training, from the rounds or else from the clients' own rows."""
    known = record.before(key)
    return _over_clients(record.clients, key, lambda c: c.before) if known is None else known


def score_after(record: RunRecord, key: str) -> float | None:
    """Return a score after training, from the rounds or else from the clients' own rows."""
    known = record.after(key)
    return _over_clients(record.clients, key, lambda c: c.after) if known is None else known


def headline(record: RunRecord) -> str:
    """Name the score that stands for the run: the server's accuracy, or else the clients' mean."""
    known = score_after(record, "accuracy") is not None
    return "accuracy" if known else "client_accuracy_mean"


def baseline_words(name: str) -> str:
    """Say what a baseline is: ``"each client alone"``; other names stand for themselves."""
    return _BASELINES.get(name, name)


def baseline_mark(name: str) -> str:
    """Say the same in the one word that fits beside a line."""
    return _SHORT_BASELINES.get(name, name)


def _over_clients(
    clients: Sequence[ClientRow], key: str, pick: Callable[[ClientRow], float | None]
) -> float | None:
    values = sorted(value for client in clients if (value := pick(client)) is not None)
    if not values:
        return None
    match key:
        case "client_accuracy_mean":
            return mean(values)
        case "client_accuracy_median":
            return statistics.median(values)
        case "client_accuracy_worst_decile":
            return mean(values[: max(1, len(values) // 10)])
        case "client_accuracy_worst":
            return values[0]
        case "client_accuracy_std":
            return statistics.pstdev(values)
    return None
