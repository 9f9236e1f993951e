"""IFCA's client half: of the models that came, the one with the least loss is trained.

Ghosh et al., "An Efficient Framework for Clustered Federated Learning", NeurIPS 2020,
https://arxiv.org/abs/2006.04088. The loss F_i is the mean cross-entropy on the client's whole
train part, without dropout. What is done with the chosen model is another client half's business.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, ClassVar

from pydantic import Field, PrivateAttr

from clients.trainers.base import ClientRound, Outcome, Trainer
from models.errors import ClientError
from models.schema import NamedArrays
from models.stacked import unstack


class IFCATrainer(Trainer):
    """Chooses the model of least loss, trains it and returns it alone."""

    about: ClassVar[str] = "trains the one of several models that has the least loss"
    then: Annotated[str, Field(description="client half that trains the chosen model")] = "plain"
    options: Annotated[str, Field(description="its options, as JSON")] = "{}"
    gradient: Annotated[
        bool, Field(description="one step of SGD on all examples, whatever the recipe says")
    ] = False
    _chosen: int = PrivateAttr(default=0)

    def train(self, work: ClientRound) -> Outcome:
        """Train the chosen model; say which it was, and its loss before."""
        then = self._then()
        losses = self._losses(work, then)
        chosen = losses.index(min(losses))
        recipe = work.recipe
        if self.gradient:
            size = max(1, len(work.part("train")))
            recipe = replace(
                recipe, local_steps=1, batch_size=size, optimizer="sgd", optimizer_args=()
            )
        done = then.train(replace(work, start=unstack(work.start)[chosen], recipe=recipe))
        told = {"cluster": float(chosen), "cluster_loss": losses[chosen]}
        return Outcome(done.arrays, {**done.metrics, **told}, done.notes)

    def model_of(self, work: ClientRound) -> NamedArrays:
        """Return the chosen model; the first, if there is nothing to choose by."""
        then = self._then()
        models = unstack(work.start)
        losses = self._losses(work, then) if len(work.part("train")) else [0.0]
        self._chosen = losses.index(min(losses))
        return then.model_of(replace(work, start=models[self._chosen]))

    def said_of(self, work: ClientRound) -> Mapping[str, float]:
        """Say which model was evaluated."""
        return {"cluster": float(self._chosen)}

    def _losses(self, work: ClientRound, then: Trainer) -> list[float]:
        from clients.training import evaluate

        data = work.part("train")
        starts = (replace(work, start=model) for model in unstack(work.start))
        return [evaluate(work.model, data, then.model_of(s).vector).loss for s in starts]

    def _then(self) -> Trainer:
        from clients.trainers import TRAINERS

        if self.then not in TRAINERS:
            raise ClientError("trainer", f"'{self.then}' is not on this node")
        return TRAINERS[self.then].model_validate(json.loads(self.options))
