"""Arrays with a mask: a bit for every number.

Here a mask is 0 and 1 behind the numbers, of the same shapes; on the wire it is one bit a number,
whatever the numbers travel as (`models.records`).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from models.errors import BouquetError, ClientError
from models.schema import ArraySpec, NamedArrays, Schema, Vector

Mask = npt.NDArray[np.bool_]
Bits = npt.NDArray[np.uint8]

_MASKED = "masked"


def is_masked(schema: Schema) -> bool:
    """Say whether the second half of such arrays is a mask."""
    return bool(schema.facts.get(_MASKED))


def masked_schema(schema: Schema) -> Schema:
    """Return the schema of such arrays with their mask behind them.

    Raises
    ------
    BouquetError
        They have one already, or are sparse.
    """
    if is_masked(schema) or schema.facts.get("sparse"):
        raise BouquetError(f"arrays of schema {schema.hash} take no mask: they travel in parts")
    masks = (ArraySpec(f"mask/{spec.key}", spec.shape) for spec in schema.arrays)
    return Schema((*schema.arrays, *masks), {**schema.facts, _MASKED: True})


def numbers_schema(schema: Schema) -> Schema:
    """Return the schema without the mask."""
    half = len(schema.arrays) // 2
    facts = {name: fact for name, fact in schema.facts.items() if name != _MASKED}
    return Schema(schema.arrays[:half], facts)


def masked(arrays: NamedArrays, mask: npt.NDArray[np.generic]) -> NamedArrays:
    """Put arrays and their mask, shape (size,), together."""
    both = np.concatenate([arrays.vector, mask.astype(arrays.vector.dtype)])
    return NamedArrays(masked_schema(arrays.schema), both)


def numbers_of(arrays: NamedArrays) -> NamedArrays:
    """Return the arrays without their mask; those that have none are returned as they are."""
    if not is_masked(arrays.schema):
        return arrays
    schema = numbers_schema(arrays.schema)
    return NamedArrays(schema, arrays.vector[: schema.size])


def mask_of(arrays: NamedArrays) -> Mask:
    """Return the mask of masked arrays, shape (numbers,)."""
    mask: Mask = arrays.vector[arrays.schema.size // 2 :] > 0.5
    return mask


def packed(masks: Vector | Mask) -> Bits:
    """Return masks, shape (..., n), as bytes of eight bits, shape (..., ceil(n / 8))."""
    return np.packbits(masks > 0.5, axis=-1)


def unpacked(bits: Bits, size: int) -> Mask:
    """Return the masks of `size` bits; the inverse of `packed`."""
    return np.unpackbits(bits, axis=-1, count=size).astype(bool)


def read_bits(bits: Bits, size: int) -> Mask:
    """Return the masks that came from a client.

    Raises
    ------
    ClientError
        ``format``: bits beyond the last number are set.
    """
    whole = np.unpackbits(bits, axis=-1)
    if whole[..., size:].any():
        raise ClientError("format", f"a mask that is not of {size} bits")
    return whole[..., :size].astype(bool)
