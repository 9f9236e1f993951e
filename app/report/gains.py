"""What each client gains: its accuracy beside that of the same client with other models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from app.report.record import ClientRow, RunRecord, mean
from app.report.scores import baseline_words

SHARED = "shared"


@dataclass(frozen=True)
class Comparison:
    """Accuracies in [0, 1], by client, of those known on both sides.

    Attributes
    ----------
    name : str
        ``"shared"``, or a baseline's name.
    own, other : mapping of str to float
        With the model that the client uses, and with the one compared with.
    """

    name: str
    own: Mapping[str, float]
    other: Mapping[str, float]

    @property
    def words(self) -> str:
        """What it is compared with: ``"the shared model"``, ``"each client alone"``."""
        return "the shared model" if self.name == SHARED else baseline_words(self.name)

    @property
    def gains(self) -> Mapping[str, float]:
        """Own minus other."""
        return {client: value - self.other[client] for client, value in self.own.items()}

    @property
    def mean_gain(self) -> float:
        """Mean over clients."""
        return mean(list(self.gains.values()))


def comparisons(record: RunRecord) -> list[Comparison]:
    """Return the comparisons that the run knows: the shared model first, then the baselines."""
    shared = {row.client: row.shared for row in record.clients}
    sides = {SHARED: shared} | {
        name: {row.client: row.after for row in run.clients}
        for name, run in record.baselines.items()
    }
    found = (_compared(name, record.clients, side) for name, side in sides.items())
    return [comparison for comparison in found if comparison.own]


def _compared(
    name: str, rows: tuple[ClientRow, ...], side: Mapping[str, float | None]
) -> Comparison:
    own, other = {}, {}
    for row in rows:
        value = side.get(row.client)
        if row.after is not None and value is not None:
            own[row.client], other[row.client] = row.after, value
    return Comparison(name, own, other)
