"""Ditto's client half: a personal model v beside the work for the global one.

Li et al., "Ditto: Fair and Robust Federated Learning Through Personalization", ICML 2021,
https://arxiv.org/abs/2012.04221, Algorithm 1. From the w^t that it received, client k

    w_k <- the round's work for the rule inside, from w^t
    v_k <- v_k - eta (grad F_k(v_k) + lambda (v_k - w^t))

w_k goes back to the server, v_k stays on the node. v_k begins as the first w^t that the client
receives; until then it uses w^t. The pull is towards w^t as received, not towards w_k.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, ClassVar, Self

from pydantic import Field, PrivateAttr

from clients.objectives import AroundObjective
from clients.trainers.around import Around
from clients.trainers.base import ClientRound, Outcome
from models.lora.factors import with_roles
from models.schema import NamedArrays, Vector

if TYPE_CHECKING:
    import torch

    from models.adapted import AdaptedModel


class Pull(AroundObjective):
    """An objective, and lambda / 2 times the squared distance from a given adapter."""

    about: ClassVar[str] = "an objective plus lambda/2 ||v - w||^2"
    strength: float
    _centre: torch.Tensor = PrivateAttr()

    def towards(self, centre: Vector, device: torch.device) -> Self:
        """Say what it pulls towards; shape (model.schema.size,)."""
        import torch

        self._centre = torch.from_numpy(centre.astype("float32")).to(device)
        return self

    def adjust_gradient(self, model: AdaptedModel, start: torch.Tensor) -> None:
        """Add lambda (v - w^t)."""
        super().adjust_gradient(model, start)
        if model.flat.grad is not None:
            model.flat.grad.add_(model.flat.detach() - self._centre, alpha=self.strength)


class DittoTrainer(Around):
    """Does the round's work for w, then trains v near the w^t that was received."""

    about: ClassVar[str] = "beside the shared model, trains a personal one that is pulled to it"
    strength: Annotated[float, Field(ge=0, alias="lambda", description="pull towards w^t")] = 1.0
    personal_epochs: Annotated[
        int, Field(ge=0, description="epochs of v in a round; 0 = as many as of w")
    ] = 0

    def train(self, work: ClientRound) -> Outcome:
        """Return w_k; keep v_k."""
        inside, held = self.inside(work)
        received = self.inner.model_of(inside)
        outcome = self.inner.train(inside)
        recipe = work.recipe
        if self.personal_epochs:
            recipe = replace(recipe, local_epochs=self.personal_epochs, local_steps=0)
        pull = Pull(strength=self.strength).towards(received.vector, work.model.device)
        trained = work.fit(
            self.model_of(work).vector,
            recipe=recipe,
            objective=pull.around(work.objective),
            purpose="ditto",
        )
        personal = NamedArrays(work.model.schema, trained.vector)
        self.keep(work, held, dict(personal), {"scaling": _scaling(work)})
        return replace(outcome, metrics={**outcome.metrics, "personal_loss": trained.loss})

    def model_of(self, work: ClientRound) -> NamedArrays:
        """Return v, or while there is none the shared model."""
        own = self.own(work)
        if work.kept is None or not own:
            return super().model_of(work)
        personal = work.initial.overlaid(own)
        then, now = float(str(work.kept.values["scaling"])), _scaling(work)
        if then == now:
            return personal
        # With mixed ranks a round may count s B A at another s; v keeps its products.
        factors = with_roles(personal.schema, ("B",)).slices
        return personal.overlaid({key: personal[key] * (then / now) for key in factors})

    def others_of(self, work: ClientRound) -> Mapping[str, NamedArrays]:
        """Return w."""
        return {**self.inner.others_of(self.inside(work)[0]), "shared": super().model_of(work)}


def _scaling(work: ClientRound) -> float:
    """Return the s of s B A in this round; 1 for adapters without one."""
    facts = work.start.schema.facts
    return float(facts.get("scaling", work.model.schema.facts.get("scaling", 1.0)))
