"""How many examples a request makes a client train on: what its training time follows from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from strategies.transport.roster import Client, Roster

Scalar = str | int | float | bool


@dataclass(frozen=True)
class LocalWork:
    """The run's recipe, as far as it says how much work a round is.

    Attributes
    ----------
    local_epochs : int
        Passes over the client's train part.
    local_steps : int
        Optimiser steps in their place, if above 0.
    batch_size : int
    """

    local_epochs: int = 1
    local_steps: int = 0
    batch_size: int = 16

    def examples(self, client: Client, config: Mapping[str, Scalar], roster: Roster) -> float:
        """Return the examples that a client passes in a round, repetitions included.

        A client that did not say how many it has counts as the mean of those who did, or as one
        batch if nobody did.

        Parameters
        ----------
        client : Client
        config : mapping
            The request's options, which override the recipe.
        roster : Roster
        """
        size = max(1, int(config.get("batch-size", self.batch_size)))
        held = float(client.examples) if client.examples is not None else _mean(roster, size)
        steps = int(config.get("local-steps", self.local_steps))
        if not steps:
            return held * max(1, int(config.get("local-epochs", self.local_epochs)))
        # A pass is made of whole steps, the last of which may be short.
        whole = math.ceil(held / size) if held else 0
        passes, rest = divmod(steps, whole) if whole else (0, 0)
        return passes * held + rest * min(size, held)


def _mean(roster: Roster, default: float) -> float:
    known = [other.examples for other in roster if other.examples is not None]
    return sum(known) / len(known) if known else default
