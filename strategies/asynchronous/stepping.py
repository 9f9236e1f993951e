"""A wrapper that adds up what clients changed since their own downloads, with weights of its own.

    Delta_i = w_sent,i - w_i,   w^{t+1} = w^t - step(sum_i c_i Delta_i, sum_i c_i, number)

What the asynchronous methods share; w_sent,i is what client i was sent, which may be older than
w^t. The rule inside takes the step (`strategies.stale.blending`).
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from strategies import base
from strategies.aggregation.asynchronous.staleness import Staleness, staleness_weight
from strategies.rounds.context import RoundContext, Update
from strategies.stale.blending import Blending, Float64, change


class StalenessOptions(base.Options):
    """Options of s(u), `strategies.aggregation.asynchronous.staleness`; letters as there."""

    staleness: Annotated[
        Staleness, Field(description="how an update's weight falls with its staleness u")
    ] = "polynomial"
    a: Annotated[
        float, Field(ge=0, description="of s(u); 0 = 0.5 for the polynomial, 10 for the hinge")
    ] = 0.0
    b: Annotated[float, Field(ge=0, description="of the hinge: staleness that costs nothing")] = 4.0

    def s(self, u: int) -> float:
        """Return s(u)."""
        return staleness_weight(self.staleness, u, self.a, self.b)


class WeightingOptions(base.Options):
    """Options of methods in which clients count alike or by their examples."""

    weighting: Annotated[
        Literal["uniform", "examples"],
        Field(description="clients count alike, or by their examples"),
    ] = "uniform"

    def n(self, update: Update, context: RoundContext) -> float:
        """Return 1, or n_i."""
        if self.weighting == "uniform":
            return 1.0
        return context.shares.examples(update.client, update.num_examples)

    def p(self, update: Update, context: RoundContext) -> float:
        """Return p_i, the client's importance: its share of all clients, or of their examples."""
        shares = context.shares
        if self.weighting == "uniform":
            return 1.0 / shares.clients
        n = self.n(update, context)
        return n / shares.total(n, 1)


class Steps:
    """One round's sums over its updates.

    Attributes
    ----------
    total : ndarray, shape (size,)
        sum c_i Delta_i.
    weight, examples : float
        sum c_i and sum n_i.
    seconds : dict of str to float
        How long each client took.
    """

    def __init__(self, owner: Stepping, context: RoundContext) -> None:
        self._owner = owner
        self._context = context
        self.total = np.zeros(owner.arrays.schema.size)
        self.weight = 0.0
        self.examples = 0.0
        self.seconds: dict[str, float] = {}

    def add(self, update: Update) -> None:
        """Add c_i Delta_i."""
        if update.num_examples == 0:  # it learned from nothing: as if it had not been there
            return
        c = self._owner.coefficient(update, self._context)
        self.total += c * self._owner.delta(update)
        self.weight += c
        self.examples += update.num_examples
        self.seconds[update.client] = update.seconds

    def merge(self, other: Self) -> None:
        """Add another node's sum."""
        self.total += other.total
        self.weight += other.weight
        self.examples += other.examples
        self.seconds |= other.seconds


class Stepping(Blending):
    """Base of the methods for updates of unlike age."""

    closing: ClassVar[str] = "buffer"
    reads_start: ClassVar[bool] = True
    tells_clients: ClassVar[bool] = False

    @property
    def is_affine(self) -> bool:
        """No: a single update counts by its age."""
        return False

    def delta(self, update: Update) -> Float64:
        """Return Delta_i, shape (size,)."""
        return change(self.arrays, update)

    @abstractmethod
    def coefficient(self, update: Update, context: RoundContext) -> float:
        """Return c_i, at least 0."""

    @abstractmethod
    def taken(self, steps: Steps, context: RoundContext) -> Float64:
        """Return the step of a round with at least one update."""

    def begin(self, context: RoundContext) -> Steps:
        """Open an empty sum."""
        return Steps(self, context)

    def conclude(self, aggregation: Steps, context: RoundContext) -> None:
        """Take the step."""
        if aggregation.seconds:
            self.step(self.taken(aggregation, context), context)
