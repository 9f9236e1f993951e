"""What the round loop asks of a closing rule, and what it shows to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol


class Waiting(Protocol):
    """An accepted update that no round has taken yet."""

    @property
    def base_round(self) -> int:
        """The round in which its start was sent."""

    @property
    def sent(self) -> float:
        """When it was sent, in seconds of the exchange's clock."""

    @property
    def arrived(self) -> float:
        """When its update came, in seconds of the exchange's clock."""


@dataclass(frozen=True)
class Standing:
    """A round as it stands.

    Attributes
    ----------
    round : int
        Aggregations done so far, plus 1.
    opened : float
        When the last round closed; 0 at the beginning.
    now : float
        Seconds of the exchange's clock.
    idle : callable
        Finds `available`, which takes a while where there are many clients.
    under_way : mapping of str to int
        Who is training, by client the round in which it was sent its start.
    waiting : mapping of str to Waiting
        Updates that came, in order of arrival (of one moment: in roster order).
    wanted : int
        ``clients-per-round``; 0 = all.
    """

    round: int
    opened: float
    now: float
    idle: Callable[[], Sequence[str]]
    under_way: Mapping[str, int]
    waiting: Mapping[str, Waiting]
    wanted: int = 0

    @cached_property
    def available(self) -> Sequence[str]:
        """Who could be asked now, in roster order: neither training nor waiting."""
        return self.idle()


class Closing(Protocol):
    """A rule that says whom a round still asks, and when it closes with what."""

    @property
    def keeps(self) -> bool:
        """Whether those who are still training at the close go on; else they are released."""

    def ask(self, standing: Standing) -> int:
        """Return how many clients are to be asked now; the method says which."""

    def closes(self, standing: Standing) -> Sequence[str] | None:
        """Return the waiting clients whose updates close the round now; None: not yet.

        An empty sequence closes it with nothing, which counts as a round.
        """

    def latest(self, standing: Standing) -> float:
        """Return the second at which `closes` is to be asked again if nothing came."""
