"""Stale updates moved to the model of now, so that no rule mixes models.

What a client changed is added to what it would be sent now: x_now + (x_k - x_start). An update
whose start is still what would be sent stays as it is, bit for bit.
"""

from __future__ import annotations

import numpy as np

from models.errors import ClientError
from models.schema import NamedArrays


def rebased(arrays: NamedArrays, start: NamedArrays, now: NamedArrays) -> NamedArrays:
    """Return what a client trained, as if it had started from the model of now.

    Parameters
    ----------
    arrays : NamedArrays
        What came back: all that was sent, or some of its arrays.
    start, now : NamedArrays
        What the client was sent, and what it would be sent now.

    Raises
    ------
    ClientError
        ``stale``: it would be sent another kind of model now, or it answered with arrays that it
        was not sent.
    """
    schema = arrays.schema
    if start.schema != now.schema:
        raise ClientError("stale", "it was sent a model of another schema than it would be now")
    if schema != start.schema:
        keys = [spec.key for spec in schema.arrays if spec in start.schema.arrays]
        if len(keys) < len(schema.arrays):
            raise ClientError("stale", "it answers with arrays that it was not sent")
        start, now = (part.only(part.schema.only(keys)) for part in (start, now))
    if start is now or np.array_equal(start.vector, now.vector):
        return arrays
    change = arrays.vector.astype(np.float64) - start.vector
    return arrays.replace(now.vector + change)
