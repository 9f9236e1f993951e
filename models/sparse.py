"""Global top-k masks and sparse vectors, every byte counted.

FLASC (Kuo et al. 2024, https://arxiv.org/abs/2406.05233) and CELLM (https://arxiv.org/abs/2407.20557):
of all numbers of an adapter together, the k = floor(density * size) largest in magnitude travel.

Encoded: one byte for the form, where the kept numbers are, then their float32 values. Where they
are is a bit for every number or a list of indices, whichever is shorter.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from models.errors import ClientError, ModelError
from models.schema import Schema, Vector

Mask = npt.NDArray[np.bool_]

_BITS, _INDICES = b"\x00", b"\x01"


def top_k(vector: Vector, density: float) -> Mask:
    """Return where the k largest magnitudes are; of equal ones the first.

    Parameters
    ----------
    vector : ndarray, shape (size,)
    density : float
        Within 0 and 1; k = floor(density * size).

    Raises
    ------
    ModelError
        A density out of range.
    """
    if not 0 <= density <= 1:
        raise ModelError(f"density = {density}: it is within 0 and 1")
    size = vector.shape[0]
    # Decimal densities such as 0.29 * 100 fall just short of what is meant.
    k = int(np.floor(density * size + 1e-9))
    if k == 0:
        return np.zeros(size, dtype=bool)
    magnitude = np.abs(vector)
    least = np.partition(magnitude, size - k)[size - k]
    mask: Mask = magnitude > least
    ties = np.flatnonzero(magnitude == least)
    mask[ties[: k - int(np.count_nonzero(mask))]] = True
    return mask


def encode(vector: Vector, mask: Mask) -> bytes:
    """Return the masked numbers and their places as bytes; values become float32."""
    places = np.flatnonzero(mask)
    kind = _index_type(vector.shape[0])
    values = vector[places].astype("<f4").tobytes()
    if (vector.shape[0] + 7) // 8 <= places.shape[0] * kind.itemsize:
        return _BITS + np.packbits(mask).tobytes() + values
    return _INDICES + places.astype(kind).tobytes() + values


def encoded_bytes(size: int, kept: int) -> int:
    """Return how many bytes `encode` makes of `kept` out of `size` numbers."""
    return 1 + min((size + 7) // 8, kept * _index_type(size).itemsize) + 4 * kept


def decode(data: bytes, size: int) -> tuple[npt.NDArray[np.float32], Mask]:
    """Return the vector, zero where nothing was sent, and the mask.

    Parameters
    ----------
    data : bytes
        From a client: nothing in it is trusted.
    size : int
        What the schema says.

    Raises
    ------
    ClientError
        ``format``: it is not what `encode` makes of a vector of this size.
    """
    form, body = data[:1], data[1:]
    mask = np.zeros(size, dtype=bool)
    if form == _BITS:
        head = (size + 7) // 8
        bits = np.unpackbits(np.frombuffer(body[:head], np.uint8))
        if len(body) < head or bits[size:].any():
            raise ClientError("format", f"a mask that is not of {size} bits")
        mask |= bits[:size].astype(bool)
    elif form == _INDICES:
        kind = _index_type(size)
        kept, left = divmod(len(body), kind.itemsize + 4)
        head = kept * kind.itemsize
        places = np.frombuffer(body[:head], kind).astype(np.int64)
        if left or np.any(np.diff(places) <= 0) or np.any(places >= size):
            raise ClientError("format", f"indices that do not rise within {size}")
        mask[places] = True
    else:
        raise ClientError("format", f"a sparse vector of unknown form {form.hex() or 'nothing'}")
    if len(body) - head != 4 * np.count_nonzero(mask):
        raise ClientError(
            "format", f"{len(body) - head} bytes for {np.count_nonzero(mask)} float32 values"
        )
    vector = np.zeros(size, dtype=np.float32)
    vector[mask] = np.frombuffer(body[head:], "<f4")
    return vector, mask


def _index_type(size: int) -> np.dtype[np.unsignedinteger]:
    for name in ("<u2", "<u4"):
        kind = np.dtype(name)
        if size <= np.iinfo(kind).max + 1:
            return kind
    return np.dtype("<u8")


def sparse_schema(schema: Schema) -> Schema:
    """Return the schema of arrays that travel without their zeros."""
    return Schema(schema.arrays, {**schema.facts, "sparse": True})


def delta_schema(schema: Schema) -> Schema:
    """Return the schema of a sparse difference, start minus result, of such arrays."""
    return Schema(schema.arrays, {**schema.facts, "sparse": True, "update": "delta"})
