"""The base of closing rules."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from math import inf
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict

from strategies.hooks import Hooks
from strategies.rounds.closing.base import Standing


class ClosingOptions(BaseModel):
    """Base of a rule's options, as in ``closing-args``."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=lambda name: name.replace("_", "-"),
        populate_by_name=True,
    )


class Rule(ABC):
    """A `Closing` as it is registered.

    Attributes
    ----------
    about : str
        One line for people: what closes a round.
    Options : type
        The rule's options.
    keeps : bool
        Whether those who are still training at the close go on; else they are released.
    """

    about: ClassVar[str] = ""
    Options: ClassVar[type[ClosingOptions]] = ClosingOptions
    keeps: ClassVar[bool] = True

    def __init__(self, options: Any) -> None:
        self.options = options

    @classmethod
    def made(cls, options: ClosingOptions, strategy: Hooks) -> Self:
        """Build it of its options, for a strategy that may have a say in it."""
        return cls(options)

    @classmethod
    def errors(cls, strategy: Hooks) -> list[str]:
        """Say why it cannot close this strategy's rounds."""
        return []

    @abstractmethod
    def ask(self, standing: Standing) -> int:
        """Return how many clients are to be asked now."""

    @abstractmethod
    def closes(self, standing: Standing) -> Sequence[str] | None:
        """Return the waiting clients whose updates close the round now; None: not yet."""

    def latest(self, standing: Standing) -> float:
        """Return the second at which to look again if nothing comes; never, by default."""
        return inf
