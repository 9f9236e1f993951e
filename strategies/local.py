"""Local: the baseline in which nothing is shared.

Every client keeps training its own adapter from the common start, in the rounds in which it would
have taken part; the server only keeps what belongs to whom. A client with a rank of its own trains
at that rank, alpha as it is; one with a base model of its own keeps its adapter on its node: the
server has no such model.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Self

from models.lora.factors import with_rank
from models.lora.resize import resized
from models.schema import NamedArrays, Schema, Vector
from strategies.base import State, Strategy
from strategies.rounds.context import Instruction, RoundContext, Update

_NOTHING = NamedArrays.of({})


class OwnUpdates:
    """What came back this round, by client, each at the rank of the model."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.vectors: dict[str, Vector] = {}

    def add(self, update: Update) -> None:
        """Keep one client's adapter, unless it stayed on its node."""
        if len(update.arrays):
            same = update.arrays.schema.arrays == self.schema.arrays
            arrays = update.arrays if same else resized(update.arrays, self.schema)
            self.vectors[update.client] = arrays.vector.copy()

    def merge(self, other: Self) -> None:
        """Take in another node's clients."""
        self.vectors.update(other.vectors)


class Local(Strategy):
    """Each client alone."""

    about: ClassVar[str] = "baseline: each client trains alone"
    travels: ClassVar[str] = "the client's own adapter"
    clusterable: ClassVar[bool] = False
    has_global_model: ClassVar[bool] = False
    mixes_ranks: ClassVar[bool] = True
    mixes_models: ClassVar[bool] = True

    def initialise(self, arrays: NamedArrays) -> None:
        """Everyone starts from the same adapter."""
        super().initialise(arrays)
        self._own: dict[str, Vector] = {}

    def instruct(self, client: str, context: RoundContext) -> Instruction:
        """Send the client's own adapter, or tell it to go on with the one on its node."""
        if context.roster[client].variant:
            return Instruction(_NOTHING, {"trainer": "partial"})
        told, rank = super().instruct(client, context), context.roster[client].rank
        schema = told.arrays.schema
        if rank is None or schema.facts.get("rank") in (None, rank):
            return told
        return replace(told, arrays=resized(told.arrays, with_rank(schema, rank)))

    def instruct_evaluation(self, client: str, context: RoundContext) -> Instruction:
        """Let it evaluate what it trained."""
        return self.instruct(client, context)

    def begin(self, context: RoundContext) -> OwnUpdates:
        """Open an empty shelf."""
        return OwnUpdates(self.arrays.schema)

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
