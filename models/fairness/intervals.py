"""95 % intervals of rates and of areas under ROC curves, from counts alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest, norm

_Z = float(norm.ppf(0.975))


@dataclass(frozen=True)
class Interval:
    """A value in [0, 1] and its interval."""

    value: float
    low: float
    high: float


def of_share(value: float | None, count: int) -> Interval | None:
    """Return Wilson's interval of a share among `count`; None without either."""
    if value is None or count < 1:
        return None
    found = binomtest(round(value * count), count).proportion_ci(0.95, method="wilson")
    return Interval(value, float(found.low), float(found.high))


def of_auc(value: float | None, positives: int, negatives: int) -> Interval | None:
    """Return the interval of an area by its standard error; None without both classes.

    Hanley and McNeil, Radiology 1982: with Q1 = A / (2 - A), Q2 = 2 A^2 / (1 + A),
    SE^2 = (A (1 - A) + (n_1 - 1) (Q1 - A^2) + (n_0 - 1) (Q2 - A^2)) / (n_1 n_0).
    """
    if value is None or positives < 1 or negatives < 1:
        return None
    a = value
    q1, q2 = a / (2 - a), 2 * a * a / (1 + a)
    square = a * (1 - a) + (positives - 1) * (q1 - a * a) + (negatives - 1) * (q2 - a * a)
    error = _Z * float(np.sqrt(max(0.0, square) / (positives * negatives)))
    return Interval(a, max(0.0, a - error), min(1.0, a + error))
