"""Fairness figures from counts.

Group g of n_g examples; Y the class, Y^ what the model says, one class c against the rest:

    TPR_g = P(Y^ = c | Y = c, g)    FPR_g = P(Y^ = c | Y != c, g)    rate_g = P(Y^ = c | g)
    demographic-parity difference   max_g rate_g - min_g rate_g
    equal-opportunity difference    max_g TPR_g - min_g TPR_g
    equalised-odds difference       the larger of the TPR's and the FPR's difference, or their mean
    equity-scaled AUC               AUC / (1 + sum_g |AUC_g - AUC|), accuracy likewise

In a binary task c is the second label. With more classes each difference is that of the class in
which it is largest. Definitions as in fairlearn; the equity-scaled ones from Luo et al.,
"Harvard Glaucoma Fairness", IEEE TMI 2024, https://arxiv.org/abs/2306.09264, of fractions.

A group with fewer than ten examples on either side of c is too small to say anything: its rates
are undefined (None), never zero, and it is left out of the differences; its accuracy is undefined
with fewer than ten examples. An unknown group is in no comparison.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add

import numpy as np

from models.fairness.counts import UNKNOWN, Cell, Groups, Histogram

LEAST = 10
"""Fewest examples on either side of a class for its rates in a group to be defined."""


@dataclass(frozen=True)
class Rates:
    """Rates of one class in one group, each in [0, 1]."""

    selection: float
    tpr: float
    fpr: float


def rates(cell: Cell, c: int, least: int = LEAST) -> Rates | None:
    """Return the rates of class `c`, or None where the group is too small."""
    positives = int(cell.true[c])
    negatives = cell.examples - positives
    if min(positives, negatives) < max(1, least):
        return None
    named, hits = int(cell.named[c]), int(cell.hits[c])
    return Rates(named / cell.examples, hits / positives, (named - hits) / negatives)


def auc(scores: Histogram) -> float | None:
    """Return the area under the ROC curve, ties within a bin counting half.

    None without examples of both classes. The exact area is at most `auc_bound` away.
    """
    negative, positive = scores.counts.T.astype(np.float64)
    pairs = negative.sum() * positive.sum()
    if pairs == 0:
        return None
    below = np.cumsum(negative) - negative
    return float((positive * (below + negative / 2)).sum() / pairs)


def auc_bound(scores: Histogram) -> float:
    """Return how far `auc` can be from the area that the unbinned scores give."""
    negative, positive = scores.counts.T.astype(np.float64)
    pairs = negative.sum() * positive.sum()
    return float((negative * positive).sum() / (2 * pairs)) if pairs else 0.0


def group_figures(cell: Cell, least: int = LEAST) -> dict[str, float | int | None]:
    """Return one group's own figures: accuracy, and in binary tasks AUC, TPR, FPR and rate.

    Of texts they are the mean loss and the accuracy of tokens. What a group is too small for is
    None: its accuracy with fewer than `least` examples, the rest with so few on either side.
    """
    enough = cell.examples >= max(1, least)
    figures: dict[str, float | int | None] = {
        "accuracy": cell.correct / cell.examples if enough else None,
        "examples": cell.examples,
    }
    if cell.loss is not None:
        figures["loss"] = cell.loss / cell.examples if enough else None
    if cell.classes != 2:
        return figures
    found = rates(cell, 1, least)
    area = auc(cell.scores) if cell.scores is not None and found else None
    return {
        **figures,
        "positives": int(cell.true[1]),
        "auc": area,
        "tpr": found.tpr if found else None,
        "fpr": found.fpr if found else None,
        "selection_rate": found.selection if found else None,
    }


def disparities(
    groups: Groups, least: int = LEAST
) -> dict[str, float | int | str | list[str] | None]:
    """Compare the groups.

    Parameters
    ----------
    groups : mapping
        Counts by the values of the columns that are compared; those with an unknown one are left
        out.
    least : int
        See `LEAST`.

    Returns
    -------
    dict
        Each figure, None where fewer than two groups are large enough for it; ``worst_group``, the
        one of least accuracy, and ``undefined``, the groups that are too small;
        ``unknown_examples``, how many are in no group.
    """
    known = {values: cell for values, cell in groups.items() if UNKNOWN not in values}
    large = {name(values): cell for values, cell in known.items() if _is_large(cell, least)}
    small = sorted(name(values) for values, cell in known.items() if not _is_large(cell, least))
    found = _differences(list(known.values()), least)
    accuracies = {who: cell.correct / cell.examples for who, cell in large.items()}
    worst = min(accuracies, key=lambda who: (accuracies[who], who)) if len(large) > 1 else None
    whole = reduce(add, known.values()) if known else None
    areas = {who: auc(cell.scores) for who, cell in large.items() if cell.scores is not None}
    area = auc(whole.scores) if whole is not None and whole.scores is not None else None
    accuracy = whole.correct / whole.examples if whole is not None else None
    return {
        **found,
        "auc": area,
        "es_auc": equity_scaled(area, areas.values()),
        "es_accuracy": equity_scaled(accuracy, accuracies.values()),
        "accuracy_gap": _range(list(accuracies.values())),
        "worst_group": worst,
        "worst_group_accuracy": accuracies[worst] if worst is not None else None,
        "undefined": small,
        "unknown_examples": sum(c.examples for v, c in groups.items() if UNKNOWN in v),
    }


def equity_scaled(whole: float | None, parts: Iterable[float | None]) -> float | None:
    """Return ``whole / (1 + sum |part - whole|)``; None with fewer than two parts.

    Parameters
    ----------
    whole : float or None
        Over all examples, in [0, 1]; a percentage would be scaled by another penalty.
    parts : iterable of float or None
        Over each group's; undefined ones do not count.
    """
    defined = [part for part in parts if part is not None]
    if whole is None or len(defined) < 2:
        return None
    return whole / (1 + sum(abs(part - whole) for part in defined))


def name(values: tuple[str, ...]) -> str:
    """Return what a group of one or several columns is called."""
    return " & ".join(values)


def _is_large(cell: Cell, least: int) -> bool:
    if cell.classes == 2:
        return rates(cell, 1, least) is not None
    return cell.examples >= max(1, least)


def _differences(cells: Sequence[Cell], least: int) -> dict[str, float | None]:
    """Return the differences of the class in which each is largest."""
    classes = cells[0].classes if cells else 0
    found: dict[str, list[float]] = {key: [] for key in _DIFFERENCES}
    for c in (1,) if classes == 2 else range(classes):
        defined = [r for cell in cells if (r := rates(cell, c, least)) is not None]
        if len(defined) < 2:
            continue
        tpr = float(np.ptp([r.tpr for r in defined]))
        fpr = float(np.ptp([r.fpr for r in defined]))
        selection = float(np.ptp([r.selection for r in defined]))
        each = (selection, tpr, max(tpr, fpr), (tpr + fpr) / 2)
        for key, value in zip(_DIFFERENCES, each, strict=True):
            found[key].append(value)
    return {key: max(values) if values else None for key, values in found.items()}


_DIFFERENCES = (
    "demographic_parity_difference",
    "equal_opportunity_difference",
    "equalized_odds_difference",
    "equalized_odds_difference_mean",
)


def _range(values: Sequence[float]) -> float | None:
    return float(np.ptp(values)) if len(values) > 1 else None
