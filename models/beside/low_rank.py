"""A low-rank adapter beside a model's head: the shared part of pFedLoRA.

    omega(f) = B A P f,   A: rank x features, B: labels x rank

beside h(f), the model's own head on its own features. A and B have the same shapes whatever the
base; P is the client's projection where its features have another width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from models.adapted import AdaptedModel
from models.beside.extended import Beside, ExtendedModel
from models.beside.keys import A_KEY, B_KEY, PROJECTION_KEY
from models.beside.projection import aligned, make_projection, uniform
from models.features import features, head, last_layer


class LowRankBeside(Beside):
    """A model with omega beside its head.

    Parameters
    ----------
    own : AdaptedModel
    extension : LowRankHead
    seed : int
    """

    def __init__(self, own: AdaptedModel, extension: LowRankHead, seed: int) -> None:
        super().__init__(own)
        labels = last_layer(own).out_features
        self.mu = extension.mu
        self.projection = make_projection(own, extension.features, seed)
        shape = (extension.rank, extension.features)
        self.a = torch.nn.Parameter(uniform(shape, seed, "A"))
        self.b = torch.nn.Parameter(torch.zeros(labels, extension.rank))

    def both(self, batch: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the logits of omega and of the model's own head, each (batch, labels)."""
        f = features(self.of, batch)
        return aligned(f, self.projection) @ self.a.T @ self.b.T, head(self.of, f)

    def predict(self, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return mu omega(f) + (1 - mu) h(f)."""
        shared, own = self.both(batch)
        return self.mu * shared + (1 - self.mu) * own


@dataclass(frozen=True)
class LowRankHead:
    """What pFedLoRA puts beside a model.

    Attributes
    ----------
    features : int
        Width that all clients share.
    rank : int
    mu : float
        Share of omega in the prediction.
    """

    features: int
    rank: int
    mu: float

    def extend(
        self, model: AdaptedModel, common: Callable[[], AdaptedModel], seed: int
    ) -> ExtendedModel:
        """Return the model with omega beside its head."""
        module = LowRankBeside(model, self, seed)
        beside = {A_KEY: module.a, B_KEY: module.b}
        if module.projection is not None:
            beside[PROJECTION_KEY] = module.projection
        return ExtendedModel(model, module, beside)
