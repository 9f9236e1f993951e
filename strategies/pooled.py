"""Global: the baseline in which all data is in one place (simulation only).

One more client holds the union of all clients' train parts. In each round it takes as many
optimiser steps as the cohort would have taken together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, ClassVar

from pydantic import Field

from strategies import base
from strategies.fedavg import FedAvg, FedAvgOptions
from strategies.rounds.context import Instruction, RoundContext

POOLED_CLIENT = "@pooled"


class PooledOptions(FedAvgOptions):
    """Options of `Pooled`; given by the run, not by the user."""

    batch_size: Annotated[int, Field(ge=1, description="examples a step")] = 16
    local_epochs: Annotated[int, Field(ge=1, description="epochs a client of the cohort")] = 1
    local_steps: Annotated[int, Field(ge=0, description="steps a client; 0 = epochs")] = 0


class Pooled(FedAvg):
    """All data pooled, trained with the cohort's budget of examples."""

    about: ClassVar[str] = "baseline: all data pooled in one place"
    clusterable: ClassVar[bool] = False
    Options: ClassVar[type[base.Options]] = PooledOptions
    options: PooledOptions

    def sample(self, context: RoundContext) -> Sequence[str]:
        """Ask only the holder of all data."""
        return [POOLED_CLIENT]

    def instruct(self, client: str, context: RoundContext) -> Instruction:
        """Give it the steps the cohort would have taken."""
        cohort = super().sample(context)
        options = self.options
        if options.local_steps:
            steps = len(cohort) * options.local_steps
        else:
            examples = sum(context.roster[c].examples or 0 for c in cohort)
            steps = math.ceil(options.local_epochs * examples / options.batch_size)
        return Instruction(self.arrays, {"local-steps": max(1, steps)})
