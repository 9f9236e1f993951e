"""What a strategy sees of a round."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from models.randomness import derive_generator
from models.schema import NamedArrays, Schema
from strategies.participation import Participation, make_participation
from strategies.rounds.shares import Shares
from strategies.transport.roster import Roster

Scalar = str | int | float | bool
EVERYBODY = make_participation("always")


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
    participation : Participation
        Who can answer in which round.
    """

    round: int
    num_rounds: int
    roster: Roster
    clients_per_round: int = 0
    seed: int = 0
    participation: Participation = EVERYBODY

    @cached_property
    def available(self) -> tuple[str, ...]:
        """Clients who can be asked now, in roster order: reachable, and there by the scenario."""
        reachable = self.roster.reachable
        if self.participation.everybody:
            return reachable
        there = self.participation.available(self.round, [self.roster[c] for c in reachable])
        return tuple(client for client in reachable if client in there)

    @cached_property
    def shares(self) -> Shares:
        """Every client's share of all examples in the federation."""
        return Shares(self.roster)

    def probability(self, client: str) -> float | None:
        """Return p_i, the probability of answering: availability times sampling.

        None where the scenario does not know it. Given who is available, sampling is uniform.
        """
        known = self.participation.probability(self.roster[client])
        if known is None or not self.available:
            return known
        wanted = self.clients_per_round or len(self.available)
        return known * min(1.0, wanted / len(self.available))

    def generator(self, purpose: str) -> np.random.Generator:
        """Return the server's generator for a purpose in this round."""
        return derive_generator(self.seed, self.round, "server", purpose)


@dataclass(frozen=True)
class Instruction:
    """What a strategy tells one client.

    Attributes
    ----------
    arrays : NamedArrays
        What it starts from.
    config : mapping
        Its options: ``trainer`` and ``trainer.<option>`` name the client half, ``objective`` the
        local loss, ``local-steps`` and the like override the recipe.
    reply : Schema, optional
        What it must return; None means: as `arrays`.
    base_version : int
        Version of the frozen base that it belongs to (`models.lora.base_change`); 0 = as loaded.
    """

    arrays: NamedArrays
    config: Mapping[str, Scalar] = field(default_factory=dict)
    reply: Schema | None = None
    base_version: int = 0

    def also(self, config: Mapping[str, Scalar]) -> Instruction:
        """Return the same with further options."""
        return replace(self, config={**self.config, **config})


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
