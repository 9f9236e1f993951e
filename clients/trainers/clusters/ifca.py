"""IFCA's client half: of the models that came, the one with the least loss is trained.

Ghosh et al., "An Efficient Framework for Clustered Federated Learning", NeurIPS 2020,
https://arxiv.org/abs/2006.04088. The loss F_i is the mean cross-entropy on the client's whole
train part, without dropout. What is done with the chosen model is another client half's business.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, ClassVar

from pydantic import Field, PrivateAttr

from clients.trainers.around import Around
from clients.trainers.base import ClientRound, Outcome
from models.schema import NamedArrays
from models.stacked import unstack


class IFCATrainer(Around):
    """Chooses the model of least loss, trains it and returns it alone."""

    about: ClassVar[str] = "trains the one of several models that has the least loss"
    gradient: Annotated[
        bool, Field(description="one step of SGD on all examples, whatever the recipe says")
    ] = False
    _chosen: int = PrivateAttr(default=0)

    def train(self, work: ClientRound) -> Outcome:
        """Train the chosen model; say which it was, and its loss before."""
        losses = self._losses(work)
        chosen = losses.index(min(losses))
        recipe = work.recipe
        if self.gradient:
            size = max(1, len(work.part("train")))
            recipe = replace(
                recipe, local_steps=1, batch_size=size, optimizer="sgd", optimizer_args=()
            )
        done = self.inner.train(replace(work, start=unstack(work.start)[chosen], recipe=recipe))
        told = {"cluster": float(chosen), "cluster_loss": losses[chosen]}
        return Outcome(done.arrays, {**done.metrics, **told}, done.notes)

    def model_of(self, work: ClientRound) -> NamedArrays:
        """Return the chosen model; the first, if there is nothing to choose by."""
        losses = self._losses(work) if len(work.part("train")) else [0.0]
        self._chosen = losses.index(min(losses))
        return self.inner.model_of(self._with_chosen(work))

    def others_of(self, work: ClientRound) -> Mapping[str, NamedArrays]:
        """Return what the inner half evaluates beside the chosen model."""
        return self.inner.others_of(self._with_chosen(work))

    def said_of(self, work: ClientRound) -> Mapping[str, float]:
        """Say which model was evaluated."""
        inner = self.inner.said_of(self._with_chosen(work))
        return {**inner, "cluster": float(self._chosen)}

    def _with_chosen(self, work: ClientRound) -> ClientRound:
        return replace(work, start=unstack(work.start)[self._chosen])

    def _losses(self, work: ClientRound) -> list[float]:
        from clients.evaluation import evaluate

        data = work.part("train")
        starts = (replace(work, start=model) for model in unstack(work.start))
        return [evaluate(work.model, data, self.inner.model_of(s).vector).loss for s in starts]
