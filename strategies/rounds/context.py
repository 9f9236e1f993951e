"""What a strategy sees of a round."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from models.randomness import derive_generator
from models.schema import NamedArrays, Schema
from models.time.slots import ONE_SLOT, Slots
from strategies.participation import Participation, make_participation
from strategies.rounds.shares import Shares
from strategies.transport.roster import Roster

Scalar = str | int | float | bool
Truth = Callable[[str, int], int | None]
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
    members : frozenset of str or None
        The clients that this is about; None = all of the roster.
    sampled : float or None
        Chance of an available client to be asked, where the cohort was not drawn from `members`.
    slots : Slots
        When clients' data change, where a scenario says so.
    truth : callable or None
        ``(client, slot)``: the number of the concept that it is in, where concepts drift.
    busy : frozenset of str
        Clients who cannot be asked now: they are training, or what they trained waits for a round.
    idle : sequence of str or None
        Who can be asked now, where the loop keeps it; else it follows from `busy`.
    now : float
        Seconds of the exchange's clock, from the beginning of the run.
    asking : int
        How many times this round has asked before; generators of later times are others.
    """

    round: int
    num_rounds: int
    roster: Roster
    clients_per_round: int = 0
    seed: int = 0
    participation: Participation = EVERYBODY
    members: frozenset[str] | None = None
    sampled: float | None = None
    slots: Slots = ONE_SLOT
    truth: Truth | None = None
    busy: frozenset[str] = frozenset()
    idle: Sequence[str] | None = None
    now: float = 0.0
    asking: int = 0

    def within(
        self, members: Collection[str], clients_per_round: int | None = None
    ) -> RoundContext:
        """Return the same round as a part of the clients sees it.

        Availability, shares of examples and cohorts are those of the part; generators stay.

        Parameters
        ----------
        members : collection of str
        clients_per_round : int, optional
            Size of the cohort drawn from the part, 0 = all of it; None where the cohort is drawn
            from everybody, so that the probability of being asked stays.
        """
        if clients_per_round is None:
            return replace(self, members=frozenset(members), sampled=self._sampled())
        return replace(
            self,
            members=frozenset(members),
            clients_per_round=clients_per_round,
            sampled=None,
        )

    @cached_property
    def available(self) -> Sequence[str]:
        """Clients who can be asked now, in roster order: reachable, idle, there by the scenario."""
        idle = self._found() if self.idle is None else self.idle
        if self.members is None:
            return idle
        return tuple(client for client in idle if client in self.members)

    def _found(self) -> tuple[str, ...]:
        reachable, participation = self.roster.reachable, self.participation
        if self.busy:
            reachable = tuple(client for client in reachable if client not in self.busy)
        if participation.everybody:
            return reachable
        there = participation.available(self.round, [self.roster[c] for c in reachable])
        return tuple(client for client in reachable if client in there)

    def concept(self, client: str) -> int | None:
        """Return the true concept of a client in this round; None where nobody knows it."""
        if self.truth is not None:
            return self.truth(client, self.slots.of(self.round))
        return self.roster[client].concept

    @cached_property
    def shares(self) -> Shares:
        """Every client's share of all examples in the federation, or in its part."""
        return Shares(self.roster, self.members)

    def probability(self, client: str) -> float | None:
        """Return p_i, the probability of answering: availability times sampling.

        None where the scenario does not know it. Given who is available, sampling is uniform.
        """
        known = self.participation.probability(self.roster[client])
        return None if known is None else known * self._sampled()

    def _sampled(self) -> float:
        """Return the chance of an available client to be asked."""
        if self.sampled is not None:
            return self.sampled
        if not self.available:
            return 1.0
        wanted = self.clients_per_round or len(self.available)
        return min(1.0, wanted / len(self.available))

    def generator(self, purpose: str) -> np.random.Generator:
        """Return the server's generator for a purpose in this round."""
        again = (self.asking,) if self.asking else ()
        return derive_generator(self.seed, self.round, "server", purpose, *again)


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
    notes : mapping
        Structured JSON values, as the client gave them: check what you read.
    base_round : int
        The round its start came from; staleness is counted from there.
    weight : float
        Weight in linear rules; wrappers may change it. Defaults to `num_examples`.
    start : NamedArrays or None
        What the client was sent; None: the round's model.
    staleness : int
        Rounds closed since its download; 0 = fresh.
    seconds : float
        From its download to its answer, on the exchange's clock.
    """

    client: str
    arrays: NamedArrays
    num_examples: int
    metrics: Mapping[str, float] = field(default_factory=dict)
    notes: Mapping[str, object] = field(default_factory=dict)
    base_round: int = 0
    weight: float = -1.0
    start: NamedArrays | None = None
    staleness: int = 0
    seconds: float = 0.0

    def __post_init__(self) -> None:
        if self.weight < 0:
            object.__setattr__(self, "weight", float(self.num_examples))
