"""The numbers of a line of ``metrics.jsonl``, under flat names."""

from __future__ import annotations

from collections.abc import Mapping


def scalars_of(line: Mapping[str, object]) -> dict[str, float]:
    """Return every number of a line; nested names are joined by ``/``.

    What was not measured (null), texts and lists are no scalars and left out. Numbers are passed
    on as they are: whole ones stay whole.

    >>> scalars_of({"round": 1, "loss": None, "groups": {"sex": {"f": {"accuracy": 0.5}}}})
    {'round': 1, 'groups/sex/f/accuracy': 0.5}
    """
    found: dict[str, float] = {}
    for name, value in line.items():
        if isinstance(value, Mapping):
            inner = scalars_of(value)
            found.update({f"{name or '-'}/{rest}": number for rest, number in inner.items()})
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found[name or "-"] = value
    return found
