"""alpha_i: a client's share of all examples in the federation, not only in the cohort."""

from __future__ import annotations

from collections.abc import Collection

from strategies.transport.roster import Roster


class Shares:
    """Shares n_i / sum_j n_j over all clients of the roster, as they are in one round.

    A client that never said how many examples it has, and is not heard from now, counts as the
    mean of those who did.

    Parameters
    ----------
    roster : Roster
    members : collection of str, optional
        The clients that count; all of the roster by default.
    """

    def __init__(self, roster: Roster, members: Collection[str] | None = None) -> None:
        self._roster = roster
        counted = [client for client in roster if members is None or client.id in members]
        self.clients = max(1, len(counted))
        declared = [client.examples for client in counted if client.examples is not None]
        self._declared, self._silent = float(sum(declared)), self.clients - len(declared)
        self._mean = self._declared / len(declared) if declared else None

    def examples(self, client: str, answered: int) -> float:
        """Return n_i of a client that answered with so many examples."""
        known = self._roster[client].examples if client in self._roster else None
        return float(answered if known is None else known)

    def total(self, answered: float, clients: int) -> float:
        """Return the sum of n_j over the roster, above 0.

        Parameters
        ----------
        answered : float
            Sum of n_i over those who answered; their mean stands in where nobody declared anything.
        clients : int
            How many answered.
        """
        mean = answered / max(1, clients) if self._mean is None else self._mean
        return max(self._declared + self._silent * mean, 1e-12)
