"""FairLoRA's client half: plain local training, and how many examples of each group it was on.

Li et al., IEEE TMI 2025, https://arxiv.org/abs/2508.00873: a client's singular values of group g
count by n_{k,g}, its examples of that group.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import ClassVar

from clients.trainers.base import ClientRound, Outcome, Trainer


class FairLoRATrainer(Trainer):
    """Trains as usual, and says how many examples each group has."""

    about: ClassVar[str] = "trains the adapter, and counts its examples by group"

    def train(self, work: ClientRound) -> Outcome:
        """Train, and count."""
        outcome = super().train(work)
        facts = work.model.schema.facts
        names = json.loads(str(facts.get("groups", "[]")))
        data = work.part("train")
        found = Counter(data.groups.get(str(facts.get("group-column", "")), ()))
        # One group is everybody's, whether a client knows its own or not.
        counts = [len(data)] if len(names) < 2 else [found[name] for name in names]
        return Outcome(outcome.arrays, outcome.metrics, {**outcome.notes, "group_examples": counts})
