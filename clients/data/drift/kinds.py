"""The drifts that exist, their arguments and their schedule; the check before data is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from clients.data.partitions import Argument, PartitionKind
from models.errors import nearest
from models.time.slots import ONE_SLOT, Slots

NO_DRIFT = "none"
EVERY, FEDDAA_SLOTS = 10, 6

_GROUPS = {
    "groups": Argument("integer", "groups of clients (1)", minimum=1),
    "start": Argument("text", "whether the groups begin alike (apart)", choices=("apart", "same")),
    "in-turn": Argument("boolean", "one group after the other drifts, one a slot (false)"),
    "moving": Argument("number", "share of the clients that drift (1)", minimum=0, maximum=1),
}

DRIFTS: Mapping[str, PartitionKind] = MappingProxyType(
    {
        NO_DRIFT: PartitionKind("clients' data stay as they are"),
        "rotation": PartitionKind(
            "virtual drift: images turn further in each slot",
            {
                "degrees": Argument("integer", "a turn (90)", minimum=1, maximum=359),
                **_GROUPS,
            },
        ),
        "label-permutation": PartitionKind(
            "real drift: labels are permuted, otherwise in each slot",
            {"concepts": Argument("integer", "permutations there are (4)", minimum=2), **_GROUPS},
        ),
        "label-cycle": PartitionKind(
            "real drift: label number y becomes y + k, more in each slot",
            {"by": Argument("integer", "k of one slot (1)", minimum=1), **_GROUPS},
        ),
        "label-skew": PartitionKind(
            "label drift: each client keeps another Dirichlet share of its labels in each slot",
            {"alpha": Argument("number", "concentration (0.5)", above=0)},
        ),
        "feddaa": PartitionKind(
            "real and virtual drift: clients change among 4 labellings, images turn",
            {"degrees": Argument("integer", "a turn (120)", minimum=1, maximum=359)},
        ),
    }
)
"""Every drift by name."""

SCHEDULE: Mapping[str, Argument] = MappingProxyType(
    {
        "every": Argument("integer", "rounds a slot (10)", minimum=1),
        "slots": Argument("integer", "slots; the last goes on to the end", minimum=2),
        "rows": Argument(
            "text",
            "whether the slots share a client's training rows (reused)",
            choices=("reused", "divided"),
        ),
    }
)
"""Arguments of every drift; besides ``at``, a list of the rounds with which slots begin."""


def validate_drift(name: str, args: Mapping[str, object]) -> list[str]:
    """Check a drift and its arguments without touching any data.

    Returns
    -------
    list of str
        One line an error, with ``drift`` or ``drift-args`` in front; empty if all is well.
    """
    if name not in DRIFTS:
        return [f"drift = '{name}' is unknown: {nearest(name, DRIFTS)}"]
    if name == NO_DRIFT:
        line = f"drift-args: arguments without a drift; name one in drift: {', '.join(DRIFTS)}"
        return [line] if args else []
    known = {**SCHEDULE, **DRIFTS[name].arguments}
    errors = []
    for key, value in args.items():
        if key == "at":
            errors += _at_errors(value)
        elif key not in known:
            line = f"'{key}' is no argument of '{name}': {nearest(key, [*known, 'at'])}"
            errors.append(f"drift-args: {line}")
        elif (problem := known[key].error(value)) is not None:
            errors.append(f"drift-args: {key} = {value!r} is not allowed; {problem}")
    if "at" in args and ("every" in args or "slots" in args):
        errors.append("drift-args: at names the rounds itself; drop every and slots, or at")
    if args.get("in-turn") is True and args.get("groups", 1) == 1:
        errors.append("drift-args: in-turn wants groups to take turns; give groups, at least 2")
    if args.get("in-turn") is True and "moving" in args:
        errors.append("drift-args: moving and in-turn both say who drifts; drop one of them")
    if args.get("rows") == "divided" and not errors and not slot_count(name, args):
        errors.append("drift-args: rows = 'divided' divides by the slots; give slots, or at")
    return errors


def drift_slots(name: str, args: Mapping[str, object]) -> Slots:
    """Return the schedule of a checked drift."""
    if name == NO_DRIFT:
        return ONE_SLOT
    at = args.get("at")
    if isinstance(at, list | tuple):
        return Slots(starts=tuple(at))
    return Slots(int(str(args.get("every", EVERY))), slot_count(name, args))


def slot_count(name: str, args: Mapping[str, object]) -> int:
    """Return how many slots a checked drift has; 0 = as many as the rounds make."""
    at = args.get("at")
    if isinstance(at, list | tuple):
        return len(at) + 1
    return int(str(args.get("slots", FEDDAA_SLOTS if name == "feddaa" else 0)))


def _at_errors(value: object) -> list[str]:
    rounds = list(value) if isinstance(value, list | tuple) else []
    whole = all(isinstance(r, int) and not isinstance(r, bool) for r in rounds)
    if rounds and whole and rounds[0] >= 2 and rounds == sorted(set(rounds)):
        return []
    allowed = "allowed: ascending rounds from 2, such as at=[11, 31]"
    return [f"drift-args: at = {value!r} is not allowed; {allowed}"]
