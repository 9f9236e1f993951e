"""What a client says beside its arrays: its weight, its metrics, its notes."""

from __future__ import annotations

import math
from collections.abc import Mapping

from models.errors import ClientError, one_line
from models.fairness.counts import GroupCounts
from models.messages import CLASSES

_MOST_EXAMPLES = 10**12
_LARGEST_METRIC = 1e100  # a sum over clients, weighted by examples, stays finite
_MOST_TOKENS = 1 << 20
_MOST_METRICS = 1000
_SAME = {"train-loss": "train_loss", "eval_loss": "loss", "eval_acc": "accuracy"}


def check_weight(value: object, declared: int | None) -> int:
    """Return the number of examples a client states.

    Parameters
    ----------
    value : object
        As it arrived; a whole number >= 0 is accepted, as int or float.
    declared : int or None
        What the roster knows; a larger value is cut to it.

    Raises
    ------
    ClientError
        ``weight``, for anything else.
    """
    if value is None:
        raise ClientError("weight", "num-examples is missing")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ClientError("weight", f"num-examples is a {type(value).__name__}, not a number")
    # Compared first: a whole number may be too large to be written or made a float.
    if not 0 <= value <= (_MOST_EXAMPLES if declared is None else math.inf) or value == math.inf:
        shown = value if isinstance(value, float) or abs(value) < 1e30 else "too large"
        raise ClientError(
            "weight", f"num-examples is {shown}, not a whole number from 0 to {_MOST_EXAMPLES:,}"
        )
    if value != int(value):
        raise ClientError("weight", f"num-examples is {value!r}, not a whole number >= 0")
    return int(value) if declared is None else min(int(value), declared)


def kept_metrics(metrics: Mapping[str, object]) -> tuple[dict[str, float], list[str]]:
    """Keep the finite numbers; the loss of a plain ClientApp goes by several names.

    Returns
    -------
    kept : dict
    dropped : list of str
        What was dropped, each with its reason.

    Raises
    ------
    ClientError
        ``size``, for more than 1,000 metrics.
    """
    if len(metrics) > _MOST_METRICS:
        raise ClientError("size", f"{len(metrics)} metrics, at most {_MOST_METRICS} are read")
    kept: dict[str, float] = {}
    dropped: list[str] = []
    for key, value in metrics.items():
        if key == "num-examples":
            continue
        if isinstance(value, bool) or not isinstance(value, int | float):
            dropped.append(f"{key[:40]} is a {type(value).__name__}")
        elif not -_LARGEST_METRIC <= value <= _LARGEST_METRIC:
            shown = value if isinstance(value, float) else "too large"
            dropped.append(f"{key[:40]} is {shown}")
        else:
            kept[key] = float(value)
    for other, name in _SAME.items():
        if other in kept:
            kept.setdefault(name, kept[other])
    return kept, dropped


def kept_notes(notes: Mapping[str, object], examples: int) -> tuple[dict[str, object], list[str]]:
    """Keep what can be read: of the counts by group, those that can be counts.

    Parameters
    ----------
    notes : mapping
        ``groups`` is {column: {value: [correct, examples]}}, ``group_counts`` what
        `models.fairness.counts` counts, ``classes`` {class number: [correct, examples]}; the rest
        is the method's own.
    examples : int
        Of the client; no group holds more.

    Returns
    -------
    kept : dict
    dropped : list of str
    """
    kept = dict(notes)
    dropped = []
    groups = kept.pop("groups", {})
    if isinstance(groups, dict):
        whole = {c: values for c, values in groups.items() if _are_counts(values, examples)}
        dropped = [f"groups of {c[:40]} cannot be read" for c in groups.keys() - whole.keys()]
        kept |= {"groups": whole} if "groups" in notes else {}
    elif groups is not None:
        dropped = ["groups cannot be read"]
    if CLASSES in kept and not _are_classes(kept[CLASSES], examples):
        del kept[CLASSES]
        dropped.append("classes cannot be read")
    if "group_counts" in kept:
        why = _unreadable(kept["group_counts"], examples)
        if why:
            del kept["group_counts"]
            dropped.append(f"group counts cannot be read: {why}")
    return kept, sorted(dropped)


def _unreadable(counts: object, examples: int) -> str:
    """Say why these are no counts by group of so many examples; nothing if they are."""
    try:
        found = GroupCounts.from_json(counts)
    except (ValueError, OverflowError) as error:
        return one_line(str(error))
    # Of texts the tokens are counted.
    if found.examples > examples * (_MOST_TOKENS if found.classes == 1 else 1):
        return f"{found.examples} examples of {examples}"
    return ""


def _are_classes(values: object, examples: int) -> bool:
    """Say whether these are counts by class number, of so many examples together."""
    return (
        isinstance(values, dict)
        and all(isinstance(c, str) and c.isdecimal() and len(c) < 8 for c in values)
        and _are_counts(values, examples)
        and sum(total for _, total in values.values()) <= examples
    )


def _are_counts(values: object, examples: int) -> bool:
    return isinstance(values, dict) and all(
        isinstance(pair, list | tuple)
        and len(pair) == 2
        and all(type(n) is int for n in pair)
        and 0 <= pair[0] <= pair[1] <= examples
        for pair in values.values()
    )
