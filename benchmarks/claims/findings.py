"""The findings of FedStale's paper as differences of scores, and what the numbers say of them.

A finding holds where its difference, positive if the paper is right, is above one standard
deviation over seeds and above what the test set resolves; it fails where it is below minus that;
else it is unclear. Differences are paired: with the same seed the same clients are there. A single
seed has no deviation; two standard errors over its evaluations stand in.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cells import spread

Key = tuple[float, float, str]
Runs = Sequence[Sequence[float]]
"""For each seed the scores of its last evaluations."""
Values = Mapping[str, Mapping[Key, Runs]]
FIXED = ("0", "0.25", "0.5", "1")


@dataclass(frozen=True)
class Metric:
    """How a score is shown and judged.

    Attributes
    ----------
    title : str
    scale : float
        From the score to what is shown.
    digits : int
    sign : int
        1 if more is better, -1 if less is.
    resolution : float
        Differences below it say nothing, in the score's unit.
    """

    title: str
    scale: float
    digits: int
    sign: int
    resolution: float


METRICS = {
    "client_accuracy_mean": Metric("accuracy in %", 100.0, 1, 1, 0.002),
    "client_loss_mean": Metric("loss", 1.0, 3, -1, 0.002),
}


@dataclass(frozen=True)
class Finding:
    """What the paper says, and the verdict by each metric."""

    text: str
    verdicts: Mapping[str, str]


def findings(values: Values) -> list[Finding]:
    """Judge all findings by all metrics."""
    by_metric = {metric: _Judge(scores, METRICS[metric]) for metric, scores in values.items()}
    columns = {metric: judge.all() for metric, judge in by_metric.items()}
    texts = next(iter(columns.values()))
    return [Finding(text, {m: column[text] for m, column in columns.items()}) for text in texts]


class _Judge:
    def __init__(self, scores: Mapping[Key, Runs], metric: Metric) -> None:
        self._metric = metric
        self._scores = {
            key: [[metric.sign * score for score in run] for run in runs]
            for key, runs in scores.items()
        }

    def all(self) -> dict[str, str]:
        """Return the verdict on each finding by its words."""
        found: dict[str, str] = {}
        for beta in ("0.5", "1"):
            gain = {(h, p): self._gain(h, p, beta) for h, p, b in self._scores if b == beta}
            for h in (0.4, 1.0):
                for p in (0.5, 0.1):
                    text = f"beta = {beta} helps more at h = {h:g} than at h = 0 (p = {p:g})"
                    found[text] = self._verdict(_minus(gain[h, p], gain[0.0, p]))
            for h in (0.0, 0.4, 1.0):
                text = f"beta = {beta} helps less at p = 0.1 than at p = 0.5 (h = {h:g})"
                found[text] = self._verdict(_minus(gain[h, 0.5], gain[h, 0.1]))
        others = self._best(0.0, 0.1, FIXED[:3], worst=True)
        found["FedVARP is the worst at h = 0, p = 0.1"] = self._verdict(
            _minus(others, self._scores[0.0, 0.1, "1"])
        )
        others = self._best(1.0, 0.5, FIXED[:3])
        found["FedVARP is the best at h = 1, p = 0.5"] = self._verdict(
            _minus(self._scores[1.0, 0.5, "1"], others)
        )
        for h in (0.4, 1.0):
            others = self._best(h, 0.1, ("0", "1"))
            text = f"beta = 0.5 beats FedAvg and FedVARP at h = {h:g}, p = 0.1"
            found[text] = self._verdict(_minus(self._scores[h, 0.1, "0.5"], others))
        for h in (0.0, 0.4, 1.0):
            for p in (0.5, 0.1):
                text = f"auto is within a deviation of the best fixed beta at h = {h:g}, p = {p:g}"
                found[text] = self._close(h, p)
        return found

    def _gain(self, h: float, p: float, beta: str) -> Runs:
        return _minus(self._scores[h, p, beta], self._scores[h, p, "0"])

    def _best(self, h: float, p: float, betas: Sequence[str], worst: bool = False) -> Runs:
        """Return the scores of the beta whose mean is the best, or the worst."""
        among = [self._scores[h, p, beta] for beta in betas]
        return (min if worst else max)(among, key=_mean)

    def _verdict(self, differences: Runs) -> str:
        mean, margin = _mean(differences), self._margin(differences)
        word = "PASS" if mean > margin else "FAIL" if mean < -margin else "unclear"
        return f"{word} ({self._shown(mean)})"

    def _close(self, h: float, p: float) -> str:
        best = self._best(h, p, FIXED)
        gain = _minus(self._scores[h, p, "'auto'"], best)
        margin = max(self._margin(gain), spread([statistics.fmean(run) for run in best]))
        return f"{'PASS' if _mean(gain) >= -margin else 'FAIL'} ({self._shown(_mean(gain))})"

    def _margin(self, differences: Runs) -> float:
        if len(differences) > 1:
            deviation = spread([statistics.fmean(run) for run in differences])
        else:
            deviation = 2 * spread(differences[0]) / len(differences[0]) ** 0.5
        return max(deviation, self._metric.resolution)

    def _shown(self, difference: float) -> str:
        return f"{self._metric.scale * difference:+.{self._metric.digits}f}"


def _mean(runs: Runs) -> float:
    return statistics.fmean(statistics.fmean(run) for run in runs)


def _minus(one: Runs, other: Runs) -> Runs:
    return [
        [a - b for a, b in zip(mine, theirs, strict=True)]
        for mine, theirs in zip(one, other, strict=True)
    ]
