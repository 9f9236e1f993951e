"""Stale updates moved to the model of now, so that no rule mixes models.

What a client changed is added to what it would be sent now: x_now + (x_k - x_start). An update
whose start is still what would be sent stays as it is, bit for bit.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from models.errors import ClientError
from models.schema import NamedArrays


def rebased(
    arrays: NamedArrays, start: NamedArrays, now: NamedArrays, model: Collection[str]
) -> NamedArrays:
    """Return what a client trained, as if it had started from the model of now.

    Parameters
    ----------
    arrays : NamedArrays
        What came back.
    start, now : NamedArrays
        What the client was sent, and what it would be sent now.
    model : collection of str
        Keys of the global model; what comes beside it, such as prototypes, stays as it is.

    Raises
    ------
    ClientError
        ``stale``: it would be sent a model of another schema now.
    """
    if start.schema != now.schema:
        raise ClientError("stale", "it was sent a model of another schema than it would be now")
    if start is now or np.array_equal(start.vector, now.vector):
        return arrays
    sent = frozenset(start.schema.arrays)
    moved = {
        spec.key: now[spec.key] + (arrays[spec.key].astype(np.float64) - start[spec.key])
        for spec in arrays.schema.arrays
        if spec in sent and spec.key in model
    }
    return arrays.overlaid(moved)
