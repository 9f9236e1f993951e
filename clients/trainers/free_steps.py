"""Anarchic federated learning's client (Yang et al. 2022): it says how much work it did.

A client takes as many local steps as it likes. How many that are is drawn by the server half, where
it draws at all (`strategies.asynchronous.afa`), so that a virtual clock knows them too; else it is
what the client's recipe comes to on its data. The metric ``local_steps`` tells the number.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import ClassVar

from clients.trainers.around import Around
from clients.trainers.base import ClientRound, Outcome


class FreeSteps(Around):
    """The client half of the rule inside, and how many steps it took."""

    about: ClassVar[str] = "says how many local steps it took"

    def train(self, work: ClientRound) -> Outcome:
        """Train, and tell K."""
        recipe, examples = work.recipe, len(work.part("train"))
        steps = recipe.local_steps
        if not steps and examples:
            steps = recipe.local_epochs * math.ceil(examples / min(recipe.batch_size, examples))
        inside, held = self.inside(work)
        outcome = self.inner.train(inside)
        if held.arrays or held.values:
            self.keep(work, held, {}, {})
        return replace(outcome, metrics={**outcome.metrics, "local_steps": float(steps)})
