"""What a method plans where its rounds close with groups of clients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Plan(Protocol):
    """Whose updates go into the model together, and when."""

    def due(self, waiting: Sequence[str], now: float) -> Sequence[str]:
        """Return the waiting clients to aggregate at a second; empty if there are none yet."""

    def latest(self, waiting: Sequence[str]) -> float:
        """Return the second at which one of them may be due though nothing came; inf if never."""
