"""The personal projection that brings features of different widths to one.

    f'(x) = P f(x),   P: features x D

Each client has its own P and trains it with its model; where D is `features` already there is none.
"""

from __future__ import annotations

import torch

from models.adapted import AdaptedModel
from models.features import feature_size
from models.randomness import derive_generator


def make_projection(own: AdaptedModel, features: int, seed: int) -> torch.nn.Parameter | None:
    """Return P with entries from U(-1/sqrt(D), 1/sqrt(D)), the same for all clients of a width.

    Parameters
    ----------
    own : AdaptedModel
    features : int
        Width that all clients share.
    seed : int
    """
    width = feature_size(own)
    if width == features:
        return None
    return torch.nn.Parameter(uniform((features, width), seed, "projection"))


def aligned(f: torch.Tensor, projection: torch.nn.Parameter | None) -> torch.Tensor:
    """Return P f, or f where there is no P."""
    return f if projection is None else f @ projection.T


def uniform(shape: tuple[int, int], seed: int, purpose: str) -> torch.Tensor:
    """Return float32 numbers from U(-1/sqrt(n), 1/sqrt(n)), n the number of columns."""
    generator = derive_generator(seed, purpose, *shape)
    bound = shape[1] ** -0.5
    return torch.from_numpy(generator.uniform(-bound, bound, shape).astype("float32"))
