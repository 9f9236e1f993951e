"""Who was asked in which round and who answered, and what follows for each client."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Absence(NamedTuple):
    """Rounds `first` to `last`, both included, in all of which a client did not answer."""

    client: str
    first: int
    last: int

    @property
    def length(self) -> int:
        """Number of rounds."""
        return self.last - self.first + 1


@dataclass(frozen=True, eq=False)
class Participation:
    """Every question to train and whether it was answered; at most one a client and round.

    Attributes
    ----------
    clients : tuple of str
        All clients, also those who were never asked.
    rounds : int
        Number of rounds, at least 1; they count from 1.
    client : ndarray of int64, shape (questions,)
        Whom the question went to, as a place in `clients`.
    round : ndarray of int64, shape (questions,)
        When, in [1, rounds].
    answered : ndarray of bool, shape (questions,)
        False where the reply was lost: dropped out, late or refused.
    """

    clients: tuple[str, ...]
    rounds: int
    client: NDArray[np.int64]
    round: NDArray[np.int64]
    answered: NDArray[np.bool_]

    @cached_property
    def times(self) -> NDArray[np.int64]:
        """In how many rounds each client took part, shape (clients,)."""
        return np.bincount(self.client[self.answered], minlength=len(self.clients))

    @cached_property
    def staleness(self) -> NDArray[np.int64]:
        """Rounds since each client's last answer, shape (clients,); all rounds where none came."""
        last = np.zeros(len(self.clients), np.int64)
        np.maximum.at(last, self.client[self.answered], self.round[self.answered])
        return self.rounds - last

    @property
    def complete(self) -> bool:
        """Whether every client took part in every round."""
        return bool((self.times == self.rounds).all())

    def longest_absence(self) -> Absence | None:
        """Return the longest absence of a client that took part at all, the first of equals.

        None where no client that took part was ever absent.
        """
        # The rounds of all clients on one line, each client's between a round 0 and one too many.
        span = self.rounds + 2
        present = np.flatnonzero(self.times) * span
        answers = self.client[self.answered] * span + self.round[self.answered]
        line = np.sort(np.concatenate([present, answers, present + self.rounds + 1]))
        gaps = np.diff(line) - 1
        # From one client's end to the next one's start is no absence.
        gaps[line[:-1] % span == self.rounds + 1] = 0
        if not gaps.any():
            return None
        longest = int(gaps.argmax())
        client, before = divmod(int(line[longest]), span)
        return Absence(self.clients[client], before + 1, before + int(gaps[longest]))
