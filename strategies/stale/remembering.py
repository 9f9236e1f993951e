"""A wrapper that remembers every client's last update and blends it into the step.

What FedStale, FedVARP and MIFA share: h_i, the last update of client i (0 before its first), is
kept out of core; a running sum of n_i h_i spares reading the memory of those who are absent, so
that a round costs as much as its cohort. Memories are read before they are refreshed.

The sign follows the papers: Delta_i = w^t - w_i is a descent direction, w^{t+1} = w^t - Delta^t.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from models.schema import NamedArrays, Vector
from strategies import base
from strategies.aggregation.remembered import RunningSum
from strategies.memory.store import Remembered, UpdateMemory
from strategies.rounds.context import RoundContext, Update
from strategies.stale.blending import Blending, Float64


class RememberingOptions(base.Options):
    """Options of all methods that remember updates."""

    memory_dtype: Annotated[
        Literal["float32", "float16"], Field(description="how remembered updates are stored")
    ] = "float32"


class Blend:
    """One round's sums over its participants, each of the model's length.

    Attributes
    ----------
    fresh : ndarray, shape (size,)
        sum c_i Delta_i, with c_i the method's coefficient.
    stale : ndarray, shape (size,)
        sum c_i h_i, memories as they were before this round.
    change : RunningSum
        What refreshing the participants' memories adds to the sum over all.
    clients : list of str
        Who took part.
    examples : float
        sum n_i.
    moments : ndarray, shape (2,)
        Whatever two scalars a method adds up.
    """

    def __init__(self, owner: Remembering, context: RoundContext) -> None:
        size = owner.arrays.schema.size
        self._owner = owner
        self._context = context
        self.fresh = np.zeros(size)
        self.stale = np.zeros(size)
        self.change = RunningSum(size)
        self.clients: list[str] = []
        self.examples = 0.0
        self.moments = np.zeros(2)

    def add(self, update: Update) -> None:
        """Add c_i Delta_i and c_i h_i; stage Delta_i as the next h_i."""
        if update.num_examples == 0:  # it learned from nothing: as if it had not been there
            return
        owner = self._owner
        delta = owner.delta(update)
        server_round = self._context.round
        remembered = owner.aged(owner.memory.read(update.client, server_round), server_round)
        weight = owner.weight(update, self._context)
        coefficient = owner.coefficient(update, self._context)
        self.fresh += coefficient * delta
        if remembered is not None:
            self.stale += coefficient * remembered.vector
            self.moments += owner.scalars(update, self._context, delta, remembered.vector)
        stored = owner.memory.stage(update.client, server_round, delta, weight)
        self.change.replace(remembered, stored, weight)
        self.clients.append(update.client)
        self.examples += weight

    def merge(self, other: Self) -> None:
        """Add another node's sums."""
        self.fresh += other.fresh
        self.stale += other.stale
        self.change.merge(other.change)
        self.clients += other.clients
        self.examples += other.examples
        self.moments += other.moments


class Remembering(Blending):
    """Base of the methods that blend remembered updates into the step."""

    Options: ClassVar[type[base.Options]] = RememberingOptions
    options: RememberingOptions

    def __init__(self, inner: base.Strategy | None = None, **options: Any) -> None:
        super().__init__(inner, **options)
        self._folder: Path | None = None

    def keep_in(self, folder: Path) -> None:
        """Keep the memory of updates under this folder."""
        self._folder = folder / "updates"
        super().keep_in(folder)

    def initialise(self, arrays: NamedArrays) -> None:
        """Start with an empty memory: h_i = 0 for all."""
        super().initialise(arrays)
        size = self.arrays.schema.size
        self.memory = UpdateMemory(self._folder, size, self.options.memory_dtype)
        self.total = RunningSum(size)
        self._round = 0  # of the newest version in the memory

    # ---- what a method says --------------------------------------------------------------

    def weight(self, update: Update, context: RoundContext) -> float:
        """Return n_i, the weight of h_i in the running sum; 1 for methods that count clients."""
        return 1.0

    @abstractmethod
    def coefficient(self, update: Update, context: RoundContext) -> float:
        """Return c_i."""

    def scalars(
        self, update: Update, context: RoundContext, delta: Float64, remembered: Vector
    ) -> Sequence[float]:
        """Return two scalars to add up, for methods that need them."""
        return (0.0, 0.0)

    def aged(self, remembered: Remembered | None, server_round: int) -> Remembered | None:
        """Return what is remembered of a client as it counts in a round; by default as it is."""
        return remembered

    @abstractmethod
    def blend(self, blend: Blend, context: RoundContext) -> Float64:
        """Return Delta^t; `total` still holds the memories as they were before this round."""

    # ---- what all have in common ---------------------------------------------------------

    def begin(self, context: RoundContext) -> Blend:
        """Open empty sums."""
        return Blend(self, context)

    def conclude(self, aggregation: Blend, context: RoundContext) -> None:
        """Step by Delta^t; refresh the memories of those who took part."""
        if not aggregation.clients:
            return
        delta = self.blend(aggregation, context)
        self._round = context.round
        self.memory.settle(context.round, aggregation.clients)
        self.total.merge(aggregation.change)
        self.step(delta, context)

    def forget(self, client: str, server_round: int) -> None:
        """Take a client's share out of the memory."""
        super().forget(client, server_round)
        self._round = server_round
        self.total.leave(self.aged(self.memory.forget(client, server_round), server_round))

    def state(self) -> base.State:
        """Return the running sum and the inner state; the memory itself is on the disk then."""
        self.memory.save(self._round)
        values = {"examples": self.total.examples, "memory": self._round}
        return base.State({"sum": self.total.vector.copy()}, values) | super().state()

    def restore(self, state: base.State) -> None:
        """Take the running sum back, and the memory to the version that belongs to it."""
        self._round = int(state.values["memory"] or 0)
        self.memory.restore(self._round)
        vector = state.arrays["sum"].astype(np.float64)
        self.total = RunningSum.of(vector, float(state.values["examples"] or 0.0))
        super().restore(state)

    def saved(self, oldest: int) -> None:
        """Let go of versions that no checkpoint can ask for."""
        self.memory.prune(oldest)
        super().saved(oldest)
