"""What rules have in common under which clients go on training when a round closes."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from strategies.rounds.closing.base import Standing
from strategies.rounds.closing.rule import ClosingOptions, Rule


class AsynchronousOptions(ClosingOptions):
    """What every asynchronous rule can be told."""

    concurrency: int = Field(
        default=0, ge=0, description="Clients that train at once; 0: clients-per-round, or all."
    )


class Asynchronous(Rule):
    """A rule that asks another client as soon as one has answered.

    Attributes
    ----------
    options : AsynchronousOptions
    """

    Options: ClassVar[type[ClosingOptions]] = AsynchronousOptions
    options: AsynchronousOptions

    def ask(self, standing: Standing) -> int:
        """Return how many are missing from those that train at once."""
        wanted = self.options.concurrency or standing.wanted
        if not wanted:
            return len(standing.available)
        return max(0, wanted - len(standing.under_way))
