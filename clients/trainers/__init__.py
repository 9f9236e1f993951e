"""The client halves: what a client does in a round, one file each."""

from __future__ import annotations

from clients.trainers.base import ClientRound, Outcome, Trainer
from clients.trainers.frozen import Frozen
from clients.trainers.partial import Partial

TRAINERS: dict[str, type[Trainer]] = {"plain": Trainer, "partial": Partial, "frozen": Frozen}

__all__ = ["TRAINERS", "ClientRound", "Frozen", "Outcome", "Partial", "Trainer"]
