"""Reading arrays that came from elsewhere: claims, then bytes, then numbers.

An array travels as a claim (dtype and shape) and the bytes of a ``.npy`` file. Everything is
checked on claim, header and length before any memory is taken, and the result is a view into the
bytes. The header is matched against the one form that NumPy writes, not evaluated.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from models.errors import ClientError

NPY = "numpy.ndarray"
_MAGIC = b"\x93NUMPY"
_LONGEST_HEADER = 2048
_HEADER = re.compile(
    r"\{'descr': '([<>=|][A-Za-z]\d{0,4})', 'fortran_order': (True|False), "
    r"'shape': \(((?:\d{1,18}, ?)*(?:\d{1,18})?)\), \} *\n"
)
_OTHER_FORMATS = {b"\x80": "a pickle", b"PK": "a zip, as npz is"}
# What may exceed the expected before it is told as a wrong size rather than as a wrong shape.
_TIMES, _MORE_NUMBERS, _MORE_BYTES, _MORE_KEYS = 16, 4096, 65536, 1000
_MOST_AXES = 64


class Encoded(Protocol):
    """An array as it travels; Flower's ``Array`` is one."""

    dtype: str
    shape: tuple[int, ...]
    stype: str
    data: bytes


def check_volume(arrays: Collection[Encoded], numbers: int, keys: int) -> None:
    """Refuse what is far too large, before anything else is looked at.

    Parameters
    ----------
    arrays : collection of Encoded
    numbers, keys : int
        How many numbers and arrays are expected.

    Raises
    ------
    ClientError
        ``size``: too many arrays, bytes or claimed numbers; ``header`` for a shape that is none.
    """
    if len(arrays) > 2 * keys + _MORE_KEYS:
        raise ClientError("size", f"{len(arrays)} arrays, expected {keys}")
    total = sum(len(array.data) for array in arrays)
    if total > 8 * _TIMES * numbers + _MORE_BYTES:
        raise ClientError("size", f"{total} bytes for {numbers} expected numbers")
    claimed = 0
    for array in arrays:
        if any(type(n) is not int or n < 0 for n in array.shape[:_MOST_AXES]):
            raise ClientError("header", f"claims shape {array.shape[:4]}")
        if len(array.shape) > _MOST_AXES:
            raise ClientError("size", f"claims {len(array.shape)} axes")
        claimed += math.prod(array.shape)
    if claimed > _TIMES * numbers + _MORE_NUMBERS:
        raise ClientError("size", f"claims {claimed:.3g} numbers, expected {numbers}")


def read_array(
    key: str, array: Encoded, shape: tuple[int, ...], dtypes: Collection[str]
) -> npt.NDArray[Any]:
    """Return an array's numbers as a read-only view into its bytes.

    Parameters
    ----------
    key : str
        Its name, for the errors.
    array : Encoded
    shape : tuple of int
        What it must have.
    dtypes : collection of str
        NumPy names of what it may have; plain numbers only.

    Raises
    ------
    ClientError
        ``dtype``, ``shape``, ``format``, ``header`` or ``size``.
    """
    if array.dtype not in dtypes:
        wanted = " or ".join(dtypes)
        raise ClientError("dtype", f"'{key}': expected {wanted}, got {array.dtype[:40]}")
    if tuple(array.shape) != shape:
        raise ClientError("shape", f"'{key}': expected {shape}, got {tuple(array.shape)}")
    if array.stype != NPY:
        raise ClientError("format", f"'{key}': expected {NPY}, got {array.stype[:40]}")
    dtype, count = np.dtype(array.dtype), math.prod(shape)
    needed = count * dtype.itemsize
    if len(array.data) > needed + _LONGEST_HEADER:
        raise ClientError("size", f"'{key}': {len(array.data)} bytes, expected about {needed}")
    descr, fortran, found, start = _header(key, array.data)
    if descr != dtype.str or found != shape:
        raise ClientError(
            "header", f"'{key}': claims {dtype.str}{shape}, its bytes say {descr}{found}"
        )
    held = len(array.data) - start
    if held != needed:
        code = "size" if held > needed else "header"
        raise ClientError(code, f"'{key}': {held} bytes of numbers, expected {needed}")
    values: npt.NDArray[Any] = np.frombuffer(array.data, dtype, count, start)
    return values.reshape(shape, order="F" if fortran else "C")


def _header(key: str, data: bytes) -> tuple[str, bool, tuple[int, ...], int]:
    """Return type, order and shape that the bytes state, and where the numbers begin."""
    begins, lengths = len(_MAGIC), {b"\x01\x00": 2, b"\x02\x00": 4}
    version = data[begins : begins + 2]
    if data[:begins] != _MAGIC or version not in lengths:
        kind = next(
            (f" ({k})" for sign, k in _OTHER_FORMATS.items() if data[: len(sign)] == sign), ""
        )
        raise ClientError(
            "format", f"'{key}': not a plain array, its bytes begin with {data[:6].hex(' ')}{kind}"
        )
    start = begins + 2 + lengths[version]
    length = int.from_bytes(data[begins + 2 : start], "little")
    text = data[start : start + min(length, _LONGEST_HEADER)].decode("latin-1")
    match = _HEADER.fullmatch(text)
    if match is None or len(text) != length:
        raise ClientError("format", f"'{key}': not a plain array, its header is {text[:60]!r}")
    descr, fortran, axes = match.groups()
    if "O" in descr:
        raise ClientError("format", f"'{key}': an array of objects")
    shape = tuple(int(n) for n in axes.replace(",", " ").split())
    return descr, fortran == "True", shape, start + length
