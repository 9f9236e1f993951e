"""Models that begin apart, and clients that are dealt out over models."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models.lora.pairs import letter_of
from models.randomness import derive_seed
from models.schema import NamedArrays


def perturbed(arrays: NamedArrays, spread: float, generator: np.random.Generator) -> NamedArrays:
    """Add normal noise to everything but LoRA's factors A, which are random already.

    Parameters
    ----------
    arrays : NamedArrays
    spread : float
        Standard deviation of the noise in those of the array's own numbers; in those of all
        numbers where an array is constant, as B is at first.
    generator : numpy.random.Generator
    """
    vector = arrays.vector.astype(np.float64)
    common = float(vector.std()) or 1.0
    for key, (place, _) in arrays.schema.slices.items():
        if letter_of(key) != "A":
            scale = float(vector[place].std()) or common
            vector[place] += spread * scale * generator.normal(size=vector[place].size)
    return arrays.replace(vector)


def dealt(clients: Sequence[str], count: int, seed: int, *purpose: str | int) -> dict[str, int]:
    """Deal clients out over `count` models at random, as evenly as can be."""
    shuffled = sorted(clients, key=lambda client: (derive_seed(seed, *purpose, client), client))
    return {client: place % count for place, client in enumerate(shuffled)}
