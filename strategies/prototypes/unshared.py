"""What a prototype method wraps where nothing is said: no adapter travels, clients keep theirs."""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np

from models.schema import NamedArrays, Schema
from strategies.base import Strategy
from strategies.rounds.context import RoundContext, Update


class Nothing:
    """The aggregation of nothing."""

    def add(self, update: Update) -> None:
        """Take nothing of it."""

    def merge(self, other: Self) -> None:
        """Take nothing of it."""


class Unshared(Strategy):
    """No array is shared; so clients need not have the same model either."""

    about: ClassVar[str] = "no adapter travels, each client keeps its own"
    has_global_model: ClassVar[bool] = False
    mixes_models: ClassVar[bool] = True

    @property
    def needs_model(self) -> bool:
        """Nothing of it is shared."""
        return False

    def initialise(self, arrays: NamedArrays) -> None:
        """Keep nothing: neither arrays nor what is known of the server's own adapter."""
        super().initialise(NamedArrays(Schema(()), np.empty(0, np.float32)))

    def begin(self, context: RoundContext) -> Nothing:
        """Open nothing."""
        return Nothing()

    def conclude(self, aggregation: Nothing, context: RoundContext) -> None:
        """Do nothing."""
