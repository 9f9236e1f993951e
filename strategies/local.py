"""Local: the baseline in which nothing is shared.

Every client keeps training its own adapter from the common start, in the rounds in which it would
have taken part; the server only keeps what belongs to whom. A client with a base model of its own
keeps its adapter on its node: the server has no such model.
"""

from __future__ import annotations

from typing import ClassVar, Self

from models.schema import NamedArrays, Vector
from strategies.base import State, Strategy
from strategies.rounds.context import Instruction, RoundContext, Update

_NOTHING = NamedArrays.of({})


class OwnUpdates:
    """What came back this round, by client."""

    def __init__(self) -> None:
        self.vectors: dict[str, Vector] = {}

    def add(self, update: Update) -> None:
        """Keep one client's adapter, unless it stayed on its node."""
        if len(update.arrays):
            self.vectors[update.client] = update.arrays.vector.copy()

    def merge(self, other: Self) -> None:
        """Take in another node's clients."""
        self.vectors.update(other.vectors)


class Local(Strategy):
    """Each client alone."""

    about: ClassVar[str] = "baseline: each client trains alone"
    travels: ClassVar[str] = "the client's own adapter"
    clusterable: ClassVar[bool] = False
    has_global_model: ClassVar[bool] = False
    mixes_models: ClassVar[bool] = True

    def initialise(self, arrays: NamedArrays) -> None:
        """Everyone starts from the same adapter."""
        super().initialise(arrays)
        self._own: dict[str, Vector] = {}

    def instruct(self, client: str, context: RoundContext) -> Instruction:
        """Send the client's own adapter, or tell it to go on with the one on its node."""
        if context.roster[client].variant:
            return Instruction(_NOTHING, {"trainer": "partial"})
        return super().instruct(client, context)

    def instruct_evaluation(self, client: str, context: RoundContext) -> Instruction:
        """Let it evaluate what it trained."""
        return self.instruct(client, context)

    def begin(self, context: RoundContext) -> OwnUpdates:
        """Open an empty shelf."""
        return OwnUpdates()

    def conclude(self, aggregation: OwnUpdates, context: RoundContext) -> None:
        """Put every returned adapter in its client's place."""
        self._own.update(aggregation.vectors)

    def model_for(self, client: str) -> NamedArrays:
        """Return the client's own adapter, or the start while it has none."""
        own = self._own.get(client)
        return self.arrays if own is None else self.arrays.replace(own)

    def forget(self, client: str, server_round: int) -> None:
        """Drop its adapter."""
        self._own.pop(client, None)

    def state(self) -> State:
        """Return the start and all adapters."""
        return super().state() | State(self._own).nested("own")

    def restore(self, state: State) -> None:
        """Take them back."""
        super().restore(state)
        self._own = dict(state.under("own").arrays)
