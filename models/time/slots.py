"""Time slots: stretches of rounds in which the clients' data stay as they are."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass


@dataclass(frozen=True)
class Slots:
    """Which slot a round belongs to; both sides of a run compute it from the round's number.

    Attributes
    ----------
    every : int
        Rounds a slot; 0 = see `starts`.
    count : int
        Slots there are, of which the last never ends; 0 = as many as the rounds make.
    starts : tuple of int
        First round of each slot after the first, ascending; used where `every` is 0. Without
        any there is one slot.
    """

    every: int = 0
    count: int = 0
    starts: tuple[int, ...] = ()

    def of(self, server_round: int) -> int:
        """Return the slot of a round, from 0; round 0, before training, is in the first."""
        if not self.every:
            return bisect_right(self.starts, server_round)
        slot = max(0, server_round - 1) // self.every
        return min(slot, self.count - 1) if self.count else slot

    def begins(self, server_round: int) -> bool:
        """Say whether a slot after the first begins with a round."""
        return server_round > 0 and self.of(server_round) > self.of(server_round - 1)

    def first_rounds(self, num_rounds: int) -> tuple[int, ...]:
        """Return the first round of each slot that begins within so many rounds; 1 is the first."""
        return (1, *(r for r in range(2, num_rounds + 1) if self.begins(r)))


ONE_SLOT = Slots()
