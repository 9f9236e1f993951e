"""``buffer``: K updates are a round."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field

from strategies.rounds.closing.asynchronous import Asynchronous, AsynchronousOptions
from strategies.rounds.closing.base import Standing
from strategies.rounds.closing.rule import ClosingOptions


class BufferOptions(AsynchronousOptions):
    """Options of ``buffer``."""

    size: int = Field(default=10, ge=1, description="Updates that make a round: K.")


class Buffer(Asynchronous):
    """Closes a round with the first K updates; those beyond wait for the next.

    Attributes
    ----------
    options : BufferOptions
    """

    about: ClassVar[str] = "K updates"
    Options: ClassVar[type[ClosingOptions]] = BufferOptions
    options: BufferOptions

    def closes(self, standing: Standing) -> Sequence[str] | None:
        """Return the first K updates, once they are there."""
        first = list(standing.waiting)[: self.options.size]
        return first if len(first) == self.options.size else None
