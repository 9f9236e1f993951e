"""``planned``: a group that the method plans is a round."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Self

from models.errors import ConfigurationError
from strategies.hooks import Hooks
from strategies.plan import Plan
from strategies.rounds.closing.asynchronous import Asynchronous
from strategies.rounds.closing.base import Standing
from strategies.rounds.closing.rule import ClosingOptions


class Planned(Asynchronous):
    """Closes a round with what the method's plan says is due.

    Attributes
    ----------
    plan : Plan
        The method's own; it changes as the run goes.
    """

    about: ClassVar[str] = "a group of clients that the method expects together (fedcompass)"

    def __init__(self, options: Any, plan: Plan) -> None:
        super().__init__(options)
        self.plan = plan

    @classmethod
    def errors(cls, strategy: Hooks) -> list[str]:
        """Say so where the method plans no groups."""
        if strategy.plan is not None:
            return []
        return ["the method plans no groups of clients; take fedcompass, or another closing rule"]

    @classmethod
    def made(cls, options: ClosingOptions, strategy: Hooks) -> Self:
        """Take the method's plan.

        Raises
        ------
        ConfigurationError
            It has none.
        """
        if strategy.plan is None:
            raise ConfigurationError(
                f"closing = 'planned': {line}" for line in cls.errors(strategy)
            )
        return cls(options, strategy.plan)

    def closes(self, standing: Standing) -> Sequence[str] | None:
        """Return those who are due; None if nobody is."""
        return self.plan.due(list(standing.waiting), standing.now) or None

    def latest(self, standing: Standing) -> float:
        """Return the latest second of the groups of those who wait."""
        return self.plan.latest(list(standing.waiting))
