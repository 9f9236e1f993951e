"""What the round loop asks of a participation model, and what all models share."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Protocol

from pydantic import BaseModel, ConfigDict, Field

from models.randomness import derive_seed
from strategies.transport.roster import Client

_NUMBER = re.compile(r"\d+\Z")


class Participation(Protocol):
    """Who can answer in which round.

    The same seed gives the same answers, whatever was asked before and whoever else there is, so
    that a resumed run repeats itself.
    """

    @property
    def everybody(self) -> bool:
        """Whether this is no scenario at all: every client is there in every round."""

    def available(self, server_round: int, clients: Sequence[Client]) -> frozenset[str]:
        """Return the ids of those who are there when the round begins."""

    def moment(self, server_round: int) -> int:
        """Return a number that changes where others may be there now; not for each round."""

    def drops_out(self, server_round: int, client: str) -> bool:
        """Say whether a client that was asked leaves in mid-round."""

    def probability(self, client: Client) -> float | None:
        """Return the long-run probability of answering when asked; None where it is unknown."""


class CommonOptions(BaseModel):
    """Options that every model has; with the model's own they are ``participation-args``."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=lambda name: name.replace("_", "-"),
        populate_by_name=True,
        validate_default=True,
    )

    dropout: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Probability of leaving in mid-round after being asked.",
    )


class Model(ABC):
    """Base of all participation models: a `Participation` with drop-out.

    Parameters
    ----------
    options : CommonOptions
        The model's own, or those common to all.
    seed : int
        The run's seed.

    Attributes
    ----------
    about : str
        One line for people.
    Options : type
        The model's options.
    tick : float
        Seconds that a round of the model always lasts on a clock; 0 = as the scenario says.
    everybody : bool
        False but for a model that takes nobody away.
    """

    about: ClassVar[str] = ""
    Options: ClassVar[type[CommonOptions]] = CommonOptions
    tick: ClassVar[float] = 0.0
    everybody: bool = False

    def __init__(self, options: CommonOptions, seed: int) -> None:
        self.options = options
        self.seed = seed

    @abstractmethod
    def is_there(self, server_round: int, client: Client) -> bool:
        """Say whether one client is there when a round begins; rounds count from 1."""

    @abstractmethod
    def availability(self, client: Client) -> float | None:
        """Return the long-run share of rounds in which a client is there, in [0, 1]."""

    def available(self, server_round: int, clients: Sequence[Client]) -> frozenset[str]:
        """Return the ids of those who are there when the round begins."""
        return frozenset(client.id for client in clients if self.is_there(server_round, client))

    def drops_out(self, server_round: int, client: str) -> bool:
        """Say whether a client that was asked leaves in mid-round."""
        dropout = self.options.dropout
        return dropout > 0 and self.chance("dropout", server_round, client) < dropout

    def moment(self, server_round: int) -> int:
        """Return the round: in each others may be there."""
        return server_round

    def stays(self, first: int, last: int, client: Client) -> bool:
        """Say whether a client is there in all rounds from `first` to `last`."""
        return all(self.is_there(number, client) for number in range(first, last + 1))

    def next_change(self, server_round: int) -> int | None:
        """Return the next round in which others may be there; None if nothing ever changes."""
        return server_round + 1

    def probability(self, client: Client) -> float | None:
        """Return availability times (1 - dropout); None where it is unknown."""
        share = self.availability(client)
        return None if share is None else share * (1 - self.options.dropout)

    def chance(self, *purpose: str | int) -> float:
        """Return this model's number for a purpose; see `chance`."""
        return chance(self.seed, "participation", *purpose)


def chance(seed: int, *purpose: str | int) -> float:
    """Return a number uniform in [0, 1), a pure function of seed and purpose.

    The derived seed itself is the number: a hundred thousand clients are drawn every round, and
    a generator for each would take ten times as long.
    """
    return (derive_seed(seed, *purpose) >> 10) * 2.0**-53


def number_of(client: str) -> int | None:
    """Return the number at the end of a client's id: 7 for ``client-0007``; None without one."""
    found = _NUMBER.search(client)
    return int(found.group()) if found else None


def main_label(client: Client, labels: Sequence[str]) -> int | None:
    """Return the place of a client's most frequent label in `labels`, of equals the first.

    None for a client that does not share its label counts.
    """
    counts = client.label_counts or {}
    if not any(counts.get(label) for label in labels):
        return None
    return max(range(len(labels)), key=lambda k: (counts.get(labels[k], 0), -k))
