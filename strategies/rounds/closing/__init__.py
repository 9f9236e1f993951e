"""What closes a round: all who were asked, the first k, K updates, an interval, each update."""

from __future__ import annotations

from strategies.rounds.closing.base import Closing, Standing, Waiting

__all__ = ["Closing", "Standing", "Waiting"]
