"""Compositions of methods: ``outer > inner`` and whose option is whose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from models.errors import ConfigurationError, nearest


def parse_composition(text: str) -> tuple[str, ...]:
    """Read ``'adaptive-clusters > fedstale > fedit'`` into its names, outermost first.

    Raises
    ------
    ConfigurationError
        If a name is missing or stands twice.
    """
    names = tuple(part.strip() for part in text.split(">"))
    if not all(names):
        raise ConfigurationError(
            f"'{text}' lacks a method's name; write one method ('fedavg') or a composition, "
            "outermost first ('fedopt > fedavg')"
        )
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigurationError(f"'{text}' names {', '.join(twice)} twice; name each once")
    return names


def split_method_args(
    args: Mapping[str, object], methods: Sequence[str]
) -> dict[str, dict[str, object]]:
    """Give each method of a composition its own options.

    Parameters
    ----------
    args : mapping
        Parsed ``strategy-args``; ``{"fedstale": {"beta": 0.2}}``. With one method the prefix may
        be dropped: ``{"beta": 0.2}``.
    methods : sequence of str
        The composition, outermost first.

    Returns
    -------
    dict
        One entry for every method, empty where nothing was given.

    Raises
    ------
    ConfigurationError
        With one line for each option that belongs to no method, or is given twice.
    """
    options: dict[str, dict[str, object]] = {name: {} for name in methods}
    bare: dict[str, object] = {}
    errors: list[str] = []
    for key, value in args.items():
        if isinstance(value, Mapping) and key in options:
            options[key].update(cast("Mapping[str, object]", value))
        elif isinstance(value, Mapping):
            errors.append(f"'{key}.' is no method of the strategy; {nearest(key, methods)}")
        elif len(methods) > 1:
            errors.append(
                f"'{key}' must say whose option it is, as in '{methods[0]}.{key}'; "
                f"methods: {', '.join(methods)}"
            )
        else:
            bare[key] = value
    if len(methods) == 1:
        own = options[methods[0]]
        errors.extend(
            f"'{key}' is given with and without the prefix '{methods[0]}.'"
            for key in bare
            if key in own
        )
        own.update(bare)
    if errors:
        raise ConfigurationError(errors)
    return options
