"""``interval``: what came within some seconds is a round."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field

from strategies.rounds.closing.asynchronous import Asynchronous, AsynchronousOptions
from strategies.rounds.closing.base import Standing
from strategies.rounds.closing.rule import ClosingOptions


class IntervalOptions(AsynchronousOptions):
    """Options of ``interval``."""

    seconds: float = Field(default=60.0, gt=0, description="From one close to the next.")


class Interval(Asynchronous):
    """Closes a round every so many seconds with all that came; that may be nothing.

    Attributes
    ----------
    options : IntervalOptions
    """

    about: ClassVar[str] = "an interval of seconds"
    Options: ClassVar[type[ClosingOptions]] = IntervalOptions
    options: IntervalOptions

    def closes(self, standing: Standing) -> Sequence[str] | None:
        """Return all updates, once the interval has passed."""
        return list(standing.waiting) if standing.now >= self.latest(standing) else None

    def latest(self, standing: Standing) -> float:
        """Return the end of the interval."""
        return standing.opened + self.options.seconds
