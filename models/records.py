"""Arrays to Flower records and back: the one file that knows both.

Two forms travel. *Stock*: an ``ArrayRecord`` with one entry an array, as Flower's own strategies
and ClientApps expect. *Flat*: one two-dimensional buffer (clients x numbers) in schema order,
because on real nodes every array of a record is an HTTP object of its own. A mask
(`models.payloads.masked`) is a second buffer, of bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
from flwr.app import Array, ArrayRecord

from models.decoding import check_volume, read_array
from models.errors import ClientError
from models.payloads.masked import is_masked, numbers_schema, packed, read_bits
from models.schema import Fact, NamedArrays, Schema, Vector
from models.sparse import decode, encode, encoded_bytes

WireDtype = Literal["float32", "float16", "bfloat16"]
_FLAT = "flat"
_BLOB = "blob"
_SPARSE = "sparse"
_MASK = "mask"
_BFLOAT16 = "bfloat16-bits"


def to_stock(arrays: NamedArrays) -> ArrayRecord:
    """Return a record with one entry an array, each in its own dtype."""
    return ArrayRecord({key: Array(value) for key, value in arrays.typed().items()})


def from_stock(record: ArrayRecord, facts: dict[str, Fact] | None = None) -> NamedArrays:
    """Read a record with one entry an array, in any order of keys."""
    return NamedArrays.of({key: array.numpy() for key, array in record.items()}, facts)


def screened_stock(record: ArrayRecord, expected: Schema) -> NamedArrays:
    """Read a record with one entry an array, in any order of keys, from a client.

    Parameters
    ----------
    record : ArrayRecord
    expected : Schema
        What it must hold.

    Raises
    ------
    ClientError
        As `from_flat`; the first array that does not fit is named.
    """
    check_volume(record.values(), expected.size, len(expected.arrays))
    wanted = {spec.key for spec in expected.arrays}
    if wanted != set(record):
        missing, extra = sorted(wanted - set(record)), sorted(set(record) - wanted)
        found = [
            f"{name} {_some(keys)}"
            for name, keys in (("missing", missing), ("extra", extra))
            if keys
        ]
        raise ClientError("keys", "; ".join(found))
    vector = np.empty(expected.size, dtype=expected.dtype)
    for spec in expected.arrays:
        place, shape = expected.slices[spec.key]
        dtype = "float32" if spec.dtype == "bfloat16" else spec.dtype
        vector[place] = read_array(spec.key, record[spec.key], shape, (dtype,)).reshape(-1)
    return NamedArrays(expected, vector)


def _some(keys: Sequence[str]) -> str:
    return ", ".join(f"'{key[:60]}'" for key in keys[:3]) + (
        f" and {len(keys) - 3} more" if len(keys) > 3 else ""
    )


def _encode(rows: npt.NDArray[np.floating], wire: WireDtype) -> tuple[str, npt.NDArray[np.generic]]:
    if wire == "bfloat16":
        bits = np.ascontiguousarray(rows, dtype=np.float32).view(np.uint32)
        # Round to nearest, ties to even, as hardware does.
        rounded = bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
        nan = np.isnan(rows)
        out = (rounded >> np.uint32(16)).astype(np.uint16)
        out[nan] = np.uint16(0x7FC0)
        return _BFLOAT16, out
    if wire == "float16":
        with np.errstate(over="ignore"):
            return _FLAT, np.ascontiguousarray(rows, dtype=np.float16)
    # A stock schema with integer arrays has a float64 vector, which must arrive whole.
    return _FLAT, np.ascontiguousarray(rows)


def to_wire(arrays: Sequence[NamedArrays], wire: WireDtype = "float32") -> ArrayRecord:
    """Write arrays of one schema: as one flat buffer, or sparse where the schema says so.

    A schema with the fact ``sparse`` holds mostly zeros; only the others travel, as float32 with
    their places (`models.sparse`). Of masked arrays the masks travel as bits.
    """
    if is_masked(arrays[0].schema):
        half = arrays[0].schema.size // 2
        record = to_flat([a.vector[:half] for a in arrays], wire)
        record[_MASK] = Array(np.stack([packed(a.vector[half:]) for a in arrays]))
        return record
    if not arrays[0].schema.facts.get("sparse"):
        return to_flat([a.vector for a in arrays], wire)
    pieces = [encode(a.vector, a.vector != 0) for a in arrays]
    lengths = np.array([len(piece) for piece in pieces], "<u8").tobytes()
    data = np.frombuffer(lengths + b"".join(pieces), np.uint8)
    return ArrayRecord({_SPARSE: Array(data)})


def from_wire(record: ArrayRecord, schema: Schema, rows: int) -> npt.NDArray[np.floating]:
    """Read `to_wire`'s record back; raises as `from_flat`."""
    if is_masked(schema):
        return _from_masked(record, schema, rows)
    if not schema.facts.get("sparse"):
        return from_flat(record, schema, rows)
    check_volume(record.values(), rows * schema.size, 1)
    if set(record) != {_SPARSE}:
        raise ClientError("keys", f"expected one sparse buffer, found {sorted(record)[:3]}")
    array = record[_SPARSE]
    if len(array.shape) != 1:
        raise ClientError("shape", f"a sparse buffer of shape {array.shape[:4]}")
    data = read_array(_SPARSE, array, tuple(array.shape), ("uint8",)).tobytes()
    lengths = [int(n) for n in np.frombuffer(data[: 8 * rows], "<u8")]
    if len(lengths) != rows or 8 * rows + sum(lengths) != len(data):
        raise ClientError("format", f"{len(data)} bytes of sparse rows do not add up")
    out = np.zeros((rows, schema.size), dtype=schema.dtype)
    start = 8 * rows
    for row, length in zip(out, lengths, strict=True):
        row[:], _ = decode(data[start : start + length], schema.size)
        start += length
    return out


def _from_masked(record: ArrayRecord, schema: Schema, rows: int) -> npt.NDArray[np.floating]:
    check_volume(record.values(), rows * schema.size, 2)
    if _MASK not in record:
        raise ClientError("keys", f"expected numbers and a mask, found {sorted(record)[:3]}")
    numbers = numbers_schema(schema)
    flat = ArrayRecord({key: array for key, array in record.items() if key != _MASK})
    shape = (rows, (numbers.size + 7) // 8)
    bits = read_array(_MASK, record[_MASK], shape, ("uint8",))
    mask = read_bits(bits, numbers.size).astype(schema.dtype)
    return np.concatenate([from_flat(flat, numbers, rows), mask], axis=1)


def wire_bytes(arrays: NamedArrays, wire: WireDtype) -> int:
    """Return how many bytes the numbers of one payload travel as, places included."""
    if arrays.schema.facts.get("sparse"):
        return encoded_bytes(arrays.schema.size, int(np.count_nonzero(arrays.vector)))
    return schema_bytes(arrays.schema, wire)


def schema_bytes(schema: Schema, wire: WireDtype) -> int:
    """Return the most bytes that a payload of a schema travels as; sparse ones take less."""
    each = 4 if wire == "float32" else 2
    if is_masked(schema):
        numbers = schema.size // 2
        return numbers * each + (numbers + 7) // 8
    return schema.size * each


def to_flat(vectors: Sequence[Vector], wire: WireDtype = "float32") -> ArrayRecord:
    """Stack vectors of one length into one buffer (clients x numbers) of the wire's dtype."""
    rows = vectors[0][None, :] if len(vectors) == 1 else np.stack(vectors)
    key, values = _encode(rows, wire)
    return ArrayRecord({key: Array(values)})


def from_flat(record: ArrayRecord, schema: Schema, rows: int) -> npt.NDArray[np.floating]:
    """Read a flat buffer.

    Parameters
    ----------
    record : ArrayRecord
        With the one entry that `to_flat` writes.
    schema : Schema
        What each row must hold.
    rows : int
        How many rows are expected.

    Returns
    -------
    ndarray, shape (rows, schema.size), dtype of ``schema.dtype``
        A read-only view into the record's bytes where their dtype is the schema's.

    Raises
    ------
    ClientError
        ``size``, ``keys``, ``dtype``, ``shape``, ``format`` or ``header``; nothing is built before
        all of them are checked.
    """
    check_volume(record.values(), rows * schema.size, 1)
    if len(record) != 1 or next(iter(record)) not in (_FLAT, _BFLOAT16):
        raise ClientError("keys", f"expected one flat buffer, found {sorted(record)[:3]}")
    key, array = next(iter(record.items()))
    allowed = ("uint16",) if key == _BFLOAT16 else ("float32", "float16", "float64")
    values = read_array(key, array, (rows, schema.size), allowed)
    if key == _BFLOAT16:
        values = (values.astype(np.uint32) << np.uint32(16)).view(np.float32)
    # What is too large for the schema's dtype becomes infinite, which the gate refuses.
    with np.errstate(over="ignore"):
        out: npt.NDArray[np.floating] = values.astype(schema.dtype, copy=False)
    return out


def to_blob(data: bytes) -> ArrayRecord:
    """Wrap bytes (a shipped base model) as one object."""
    return ArrayRecord({_BLOB: Array(np.frombuffer(data, dtype=np.uint8))})


def from_blob(record: ArrayRecord) -> bytes:
    """Unwrap `to_blob`'s bytes."""
    return bytes(record[_BLOB].numpy().tobytes())


def record_bytes(record: ArrayRecord) -> int:
    """Bytes of array data in a record, as they travel."""
    return sum(len(array.data) for array in record.values())
