"""``first``: over-selection; more are asked than needed, and the first k are the round.

Bonawitz et al., "Towards Federated Learning at Scale: System Design", MLSys 2019: 130% of the
clients that a round needs are asked, and the slowest are dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import ClassVar

from pydantic import Field

from strategies.rounds.closing.base import Standing
from strategies.rounds.closing.rule import ClosingOptions, Rule


class FirstOptions(ClosingOptions):
    """Options of ``first``."""

    size: int = Field(
        default=0,
        ge=0,
        description="Updates that make a round: k; 0: clients-per-round, or what leaves the share "
        "over of all.",
    )
    share: float = Field(default=0.3, ge=0, description="Clients asked beyond k, as a share of k.")


class First(Rule):
    """Closes a round with the first k updates; the others are too late and do not count.

    Attributes
    ----------
    options : FirstOptions
    """

    about: ClassVar[str] = "the first k of more that were asked"
    Options: ClassVar[type[ClosingOptions]] = FirstOptions
    options: FirstOptions
    keeps: ClassVar[bool] = False
    _k: int = 0  # as it was when the round's clients were asked; others may come and go since

    def ask(self, standing: Standing) -> int:
        """Return k and the share over, while nobody was asked or all those asked were lost."""
        if standing.under_way or standing.waiting:
            return 0
        self._k = self._needed(standing)
        return ceil(round(self._k * (1 + self.options.share), 6))

    def closes(self, standing: Standing) -> Sequence[str] | None:
        """Return the first k; fewer where nobody else is under way."""
        came, k = list(standing.waiting), self._k or self._needed(standing)
        return came[:k] if came and (len(came) >= k or not standing.under_way) else None

    def _needed(self, standing: Standing) -> int:
        there = len(standing.available) + len(standing.under_way) + len(standing.waiting)
        return self.options.size or standing.wanted or max(1, int(there / (1 + self.options.share)))
