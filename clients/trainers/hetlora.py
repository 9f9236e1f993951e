"""HetLoRA's client half: local training that may prune its own rank.

Cho et al., "Heterogeneous LoRA for Federated Fine-tuning of On-Device Foundation Models", EMNLP
2024, https://arxiv.org/abs/2401.06432. Beside the loss, a client of rank r minimises

    lambda sum over layers of ||B[:, q:]|| ||A[q:, :]||,   q = floor(gamma r),

and where that sum is smaller after training than before, the tail goes: its rank is q from then
on. It returns its adapter at the rank that it was sent, with zeros in the tail, and says its rank.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from pydantic import Field

from clients.objectives import AroundObjective
from clients.trainers.base import ClientRound, Outcome, Trainer
from models.lora.factors import rank_of, with_rank
from models.lora.pairs import Layout, PairPlace
from models.lora.resize import resized
from models.schema import NamedArrays

if TYPE_CHECKING:
    import torch

    from models.adapted import AdaptedModel


def tail_size(arrays: NamedArrays, first: int) -> float:
    """Return the sum over layers of ||B[:, first:]|| ||A[first:, :]||."""
    norm = np.linalg.norm
    pairs = Layout.of(arrays.schema).pairs(arrays)
    return float(sum(norm(pair.b[:, first:]) * norm(pair.a[first:]) for pair in pairs))


class TailPenalty(AroundObjective):
    """An objective, and a pull of the last rows of A and columns of B towards zero."""

    about: ClassVar[str] = "an objective plus lambda ||B tail|| ||A tail||"
    strength: float
    first: int
    last: int
    places: tuple[PairPlace, ...]

    def adjust_gradient(self, model: AdaptedModel, start: torch.Tensor) -> None:
        """Add lambda ||A tail|| B tail / ||B tail||, and the same for A."""
        super().adjust_gradient(model, start)
        gradient = model.flat.grad
        if gradient is None:
            return
        for place in self.places:
            (a_place, a_shape), (b_place, b_shape) = (
                model.schema.slices[key] for key in (place.a_key, place.b_key)
            )
            a = model.flat.data[a_place].view(a_shape)[self.first : self.last]
            b = model.flat.data[b_place].view(b_shape)[:, self.first : self.last]
            size_a, size_b = float(a.norm()), float(b.norm())
            if size_a > 0 and size_b > 0:
                of_a = gradient[a_place].view(a_shape)[self.first : self.last]
                of_b = gradient[b_place].view(b_shape)[:, self.first : self.last]
                of_a.add_(a, alpha=self.strength * size_b / size_a)
                of_b.add_(b, alpha=self.strength * size_a / size_b)


class HetLoRATrainer(Trainer):
    """Trains at the client's rank and prunes the tail that has shrunk."""

    about: ClassVar[str] = (
        "trains with a penalty on the last ranks, and drops them when they shrink"
    )
    gamma: Annotated[float, Field(gt=0, le=1, description="share of the rank that is kept")] = 0.99
    penalty: Annotated[float, Field(ge=0, description="lambda, strength of the penalty")] = 1e-3

    def train(self, work: ClientRound) -> Outcome:
        """Train, and say the rank of the next round."""
        rank = rank_of(work.start.schema)
        kept = max(1, math.floor(self.gamma * rank))
        if kept == rank:
            outcome = super().train(work)
            return Outcome(outcome.arrays, {**outcome.metrics, "rank": float(rank)})
        places = Layout.of(work.model.schema).places
        penalty = TailPenalty(strength=self.penalty, first=kept, last=rank, places=places)
        full = self.model_of(work)
        trained = work.fit(full.vector, objective=penalty.around(work.objective))
        wide = NamedArrays(full.schema, trained.vector)
        arrays = resized(wide, work.start.schema)
        if tail_size(arrays, kept) < tail_size(work.start, kept):
            arrays = resized(
                resized(arrays, with_rank(arrays.schema, kept, "proportional")), arrays.schema
            )
            rank = kept
        return Outcome(arrays, {"train_loss": trained.loss, "rank": float(rank)})
