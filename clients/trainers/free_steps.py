"""Anarchic federated learning's client (Yang et al. 2022): it decides how much work it does.

In each round a client takes as many local steps as it likes, which is drawn here from its own
generator, between ``min-steps`` and ``max-steps``; with ``max-steps = 0`` as many as the recipe
says. It tells the server how many they were: ``local_steps``.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Annotated, ClassVar

from pydantic import Field

from clients.trainers.around import Around
from clients.trainers.base import ClientRound, Outcome


class FreeSteps(Around):
    """The client half of the rule inside, for a number of steps of the client's own."""

    about: ClassVar[str] = "as many local steps as the client likes, and says how many"
    min_steps: Annotated[int, Field(ge=1, description="fewest local steps")] = 1
    max_steps: Annotated[int, Field(ge=0, description="most local steps; 0 = the recipe's")] = 0

    def train(self, work: ClientRound) -> Outcome:
        """Draw K, train, and tell K."""
        recipe, examples = work.recipe, len(work.part("train"))
        steps = recipe.local_steps
        if self.max_steps:
            fewest = min(self.min_steps, self.max_steps)
            steps = int(work.generator("free-steps").integers(fewest, self.max_steps + 1))
        elif not steps and examples:
            steps = recipe.local_epochs * math.ceil(examples / min(recipe.batch_size, examples))
        inside, held = self.inside(replace(work, recipe=replace(recipe, local_steps=steps)))
        outcome = self.inner.train(inside)
        if held.arrays or held.values:
            self.keep(work, held, {}, {})
        return replace(outcome, metrics={**outcome.metrics, "local_steps": float(steps)})
