"""What closes a round: all who were asked, the first k, K updates, an interval, each update."""

from __future__ import annotations

from strategies.rounds.closing.asynchronous import Asynchronous, AsynchronousOptions
from strategies.rounds.closing.base import Closing, Standing, Waiting
from strategies.rounds.closing.factory import (
    CLOSINGS,
    closing_errors,
    closing_names,
    closing_option_errors,
    is_stale,
    make_closing,
)
from strategies.rounds.closing.rule import ClosingOptions, Rule

__all__ = [
    "CLOSINGS",
    "Asynchronous",
    "AsynchronousOptions",
    "Closing",
    "ClosingOptions",
    "Rule",
    "Standing",
    "Waiting",
    "closing_errors",
    "closing_names",
    "closing_option_errors",
    "is_stale",
    "make_closing",
]
