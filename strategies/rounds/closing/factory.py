"""Closing rules by name, and the check of their options."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType

from models.adapters import option_errors
from models.errors import ConfigurationError, nearest
from strategies.hooks import Hooks
from strategies.rounds.closing.base import Closing
from strategies.rounds.closing.buffer import Buffer
from strategies.rounds.closing.each import Each
from strategies.rounds.closing.first import First
from strategies.rounds.closing.interval import Interval
from strategies.rounds.closing.planned import Planned
from strategies.rounds.closing.rule import ClosingOptions, Rule

ALL = "all"
"""Everybody who was asked, or the end of the time: no rule closes a round before."""


CLOSINGS: Mapping[str, type[Rule]] = MappingProxyType(
    {"first": First, "buffer": Buffer, "interval": Interval, "each": Each, "planned": Planned}
)
"""Every rule but `ALL` by its name in ``closing``."""


def closing_names() -> Collection[str]:
    """Names usable in ``closing``."""
    return (ALL, *CLOSINGS)


def closing_option_errors(name: str, options: Mapping[str, object]) -> list[str]:
    """Check the options of a rule.

    Parameters
    ----------
    name : str
        One of `closing_names`.
    options : mapping of str to object
        By kebab-case name, as in ``closing-args``.

    Returns
    -------
    list of str
        One line an error; empty if all is well.
    """
    return option_errors(ClosingOptions if name == ALL else CLOSINGS[name].Options, options)


def is_stale(name: str) -> bool:
    """Say whether under this rule an update may be of an older round."""
    return name != ALL and CLOSINGS[name].keeps


def closing_errors(name: str, strategy: Hooks) -> list[str]:
    """Say why a known rule cannot close a strategy's rounds."""
    stale = strategy.stale_errors if is_stale(name) else []
    return [*stale, *(CLOSINGS[name].errors(strategy) if name != ALL else [])]


def make_closing(
    name: str, strategy: Hooks, options: Mapping[str, object] = MappingProxyType({})
) -> Closing | None:
    """Build a closing rule.

    Parameters
    ----------
    name : str
        ``all``, ``first``, ``buffer``, ``interval``, ``each`` or ``planned``.
    strategy : Hooks
        What it closes rounds for.
    options : mapping of str to object
        By kebab-case name, as in ``closing-args``.

    Returns
    -------
    Closing or None
        None for ``all``.

    Raises
    ------
    ConfigurationError
        Unknown name or wrong options, all at once.
    """
    if name not in closing_names():
        raise ConfigurationError(f"closing = '{name}': {nearest(name, closing_names())}")
    errors = closing_option_errors(name, options)
    if errors:
        raise ConfigurationError(f"closing-args: {name}: {line}" for line in errors)
    if name == ALL:
        return None
    rule = CLOSINGS[name]
    return rule.made(rule.Options.model_validate(dict(options)), strategy)
