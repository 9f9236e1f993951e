"""One head for all clients, on features of one width: the shared part of LG-FedAvg.

    logits = W P f + b,   W: labels x features

The model's own head is out of use; P is the client's projection where its features have another
width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from models.adapted import AdaptedModel
from models.beside.extended import Beside, ExtendedModel
from models.beside.keys import BIAS_KEY, PROJECTION_KEY, WEIGHT_KEY
from models.beside.projection import aligned, make_projection, uniform
from models.features import features, last_layer


class HeadBeside(Beside):
    """A model whose features go to the shared head.

    Parameters
    ----------
    own : AdaptedModel
    extension : SharedHead
    seed : int
    """

    def __init__(self, own: AdaptedModel, extension: SharedHead, seed: int) -> None:
        super().__init__(own)
        labels = last_layer(own).out_features
        self.projection = make_projection(own, extension.features, seed)
        shape = (labels, extension.features)
        self.weight = torch.nn.Parameter(uniform(shape, seed, "head"))
        self.bias = torch.nn.Parameter(torch.zeros(labels))

    def predict(self, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return W P f + b."""
        f = aligned(features(self.of, batch), self.projection)
        return f @ self.weight.T + self.bias


@dataclass(frozen=True)
class SharedHead:
    """What LG-FedAvg puts beside a model.

    Attributes
    ----------
    features : int
        Width that all clients share.
    """

    features: int

    def extend(
        self, model: AdaptedModel, common: Callable[[], AdaptedModel], seed: int
    ) -> ExtendedModel:
        """Return the model with the shared head."""
        module = HeadBeside(model, self, seed)
        beside = {WEIGHT_KEY: module.weight, BIAS_KEY: module.bias}
        if module.projection is not None:
            beside[PROJECTION_KEY] = module.projection
        return ExtendedModel(model, module, beside)
