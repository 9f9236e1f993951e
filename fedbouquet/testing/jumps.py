"""Clients whose training the server can follow and invert exactly, in numbers alone."""

from __future__ import annotations

import numpy as np

from models.inversion.training import Pace, Search, Synthetic
from models.schema import Schema, Vector
from strategies.base import Strategy, layers


class Jumps:
    """A client goes from its start to its data, the share ``rate`` of the way, in one step.

    Parameters
    ----------
    schema : Schema
    off : float
        What is added to each number of the data that are recovered.
    rate : float
        In (0, 1].

    Attributes
    ----------
    searches : list of Search
        Those so far.
    """

    input_size = 1

    def __init__(self, schema: Schema, off: float = 0.0, rate: float = 1.0) -> None:
        self.schema = schema
        self.off = off
        self.rate = rate
        self.searches: list[Search] = []

    def pace(self, examples: int, server_round: int) -> Pace:
        """Return one step."""
        return Pace(1, self.rate)

    def drawn(self, count: int, generator: np.random.Generator) -> Synthetic:
        """Return one point."""
        return Synthetic(
            generator.standard_normal((1, self.schema.size), np.float32),
            np.zeros((1, 1), np.float32),
        )

    def update(self, start: Vector, data: Synthetic, pace: Pace) -> Vector:
        """Return the way."""
        way: Vector = (pace.rate * (data.inputs[0] - start)).astype(np.float32)
        return way

    def recovered(
        self, start: Vector, update: Vector, pace: Pace, first: Synthetic, search: Search
    ) -> Synthetic:
        """Return where it leads."""
        self.searches.append(search)
        there = (start + update / pace.rate + self.off).astype(np.float32)
        return Synthetic(there[None], first.labels)


def lent(strategy: Strategy, schema: Schema) -> Strategy:
    """Lend a strategy, where it computes clients' training, one for this adapter."""
    for layer in layers(strategy):
        if layer.needs_client_training:
            layer.lend(Jumps(schema))
    return strategy
