"""``each``: every update is a round."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from strategies.rounds.closing.asynchronous import Asynchronous
from strategies.rounds.closing.base import Standing


class Each(Asynchronous):
    """Closes a round with the update that came first."""

    about: ClassVar[str] = "each update, as it comes"

    def closes(self, standing: Standing) -> Sequence[str] | None:
        """Return the first update that waits."""
        return list(standing.waiting)[:1] or None
