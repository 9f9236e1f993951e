"""Randomness is derived, never shared.

A generator is a pure function of the seed and of what it is for, so simulation and real nodes
shuffle alike and a retried or resumed client repeats itself exactly.
"""

from __future__ import annotations

import hashlib

import numpy as np


def derive_seed(seed: int, *purpose: str | int) -> int:
    """Return a 63-bit seed for one purpose.

    Parameters
    ----------
    seed : int
        The run's seed.
    *purpose : str or int
        What the numbers are for, e.g. ``("batches", 3, "client-0007")``. Order matters;
        ``1`` and ``"1"`` differ.
    """
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in (seed, *purpose))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def derive_generator(seed: int, *purpose: str | int) -> np.random.Generator:
    """Return the generator of one purpose; see `derive_seed`."""
    return np.random.default_rng(derive_seed(seed, *purpose))
