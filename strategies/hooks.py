"""What the round loop asks of a strategy, and of one round's aggregation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, Self

from models.schema import NamedArrays
from strategies.aggregation.lora.product import Delta
from strategies.plan import Plan
from strategies.rounds.context import Instruction, RoundContext, Update


class Aggregation(Protocol):
    """One round's aggregation in progress."""

    def add(self, update: Update) -> None:
        """Take one update; linear rules forget it at once."""

    def merge(self, other: Self) -> None:
        """Take in another node's stream; called in roster order."""


class Hooks(Protocol):
    """The hooks that `strategies.base.Strategy` documents and every method may override."""

    @property
    def is_linear(self) -> bool:
        """Whether updates may be consumed one by one."""

    @property
    def wants_start(self) -> bool:
        """Whether stale updates come as they are, not rebased."""

    @property
    def arrays(self) -> NamedArrays:
        """The global model, or what of it is aggregated."""

    @property
    def model(self) -> NamedArrays:
        """The global model as a whole."""

    @property
    def stale_errors(self) -> list[str]:
        """Why it cannot take updates of older rounds."""

    @property
    def plan(self) -> Plan | None:
        """What closes its rounds under ``planned``."""

    def figures(self) -> Mapping[str, float]:
        """Return numbers of the method's own."""

    @property
    def assignment(self) -> Mapping[str, int]:
        """The cluster of every client that has one."""

    def heard(self, client: str, metrics: Mapping[str, float]) -> None:
        """Hear what a client said when it was evaluated."""

    @property
    def merged(self) -> Mapping[str, Delta]:
        """What the last round merged into the frozen base."""

    def counted(self, update: Update, context: RoundContext) -> tuple[NamedArrays, float] | None:
        """Return the adapter that an update stands for, and its weight in the mean."""

    def initialise(self, arrays: NamedArrays) -> None:
        """Take the first model."""

    def sample(self, context: RoundContext) -> Sequence[str]:
        """Choose the cohort."""

    def instruct(self, client: str, context: RoundContext) -> Instruction:
        """Say what one client starts from."""

    def instruct_evaluation(self, client: str, context: RoundContext) -> Instruction:
        """Say what one client evaluates."""

    def begin(self, context: RoundContext) -> Aggregation:
        """Open the round's aggregation."""

    def conclude(self, aggregation: Any, context: RoundContext) -> None:
        """Turn the finished aggregation into the next model."""

    def forget(self, client: str, server_round: int) -> None:
        """Let go of a client that left the roster for good."""

    def model_for(self, client: str) -> NamedArrays:
        """Return the model that a client would use now."""
