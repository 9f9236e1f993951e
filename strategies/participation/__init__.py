"""Participation models: who can answer in a round."""

from __future__ import annotations

from strategies.participation.base import Always, Participation

__all__ = ["Always", "Participation"]
