"""What a strategy sees of a round."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from models.randomness import derive_generator
from models.schema import NamedArrays
from strategies.transport.roster import Roster

Scalar = str | int | float | bool


@dataclass(frozen=True)
class RoundContext:
    """One round, as a strategy sees it.

    Attributes
    ----------
    round : int
        From 1.
    num_rounds : int
        Of the run.
    roster : Roster
    clients_per_round : int
        Wanted size of the cohort; 0 = all.
    seed : int
    """

    round: int
    num_rounds: int
    roster: Roster
    clients_per_round: int = 0
    seed: int = 0

    def generator(self, purpose: str) -> np.random.Generator:
        """Return the server's generator for a purpose in this round."""
        return derive_generator(self.seed, self.round, "server", purpose)


@dataclass(frozen=True)
class Instruction:
    """What a strategy tells one client: its start and its options."""

    arrays: NamedArrays
    config: Mapping[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True)
class Update:
    """What one client returned.

    Attributes
    ----------
    client : str
    arrays : NamedArrays
        The client's arrays after local work (not a difference).
    num_examples : int
    metrics : mapping
    base_round : int
        The round its start came from; staleness is counted from there.
    weight : float
        Weight in linear rules; wrappers may change it. Defaults to `num_examples`.
    """

    client: str
    arrays: NamedArrays
    num_examples: int
    metrics: Mapping[str, float] = field(default_factory=dict)
    base_round: int = 0
    weight: float = -1.0

    def __post_init__(self) -> None:
        if self.weight < 0:
            object.__setattr__(self, "weight", float(self.num_examples))
