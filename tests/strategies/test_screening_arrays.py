"""Rows B1 and B7-B16: what is wrong with arrays costs one client, and is named."""

from __future__ import annotations

import io
import tracemalloc
import zipfile
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, RecordDict
from hostile_clients import (
    BAD,
    KEYS,
    SCHEMA,
    Content,
    Outcome,
    change_array,
    encoded,
    packed,
    plain,
    records_of,
    run,
    without_bad,
)

from models.results import ClientResult

EVERY_KEY = pytest.mark.parametrize("key", KEYS, ids=["first", "middle", "last"])
BOTH = pytest.mark.parametrize("stock", [False, True], ids=["packed", "stock"])
good = cache(without_bad)


def refused(spoil: Content, stock: bool) -> str:
    """Run a round, check that only the bad client is missing, return code and detail."""
    outcome = run(plain(spoil) if stock else packed(spoil))
    return only_rejection(outcome, stock)


def only_rejection(outcome: Outcome, stock: bool) -> str:
    (rejection,) = outcome.record.rejected
    assert rejection.client == (str(1000 + BAD) if stock else f"c-{BAD}")
    assert (outcome.record.clients_asked, outcome.record.clients_answered) == (4, 3)
    np.testing.assert_array_equal(outcome.arrays.vector, good(stock).vector)
    return f"{rejection.code}: {rejection.detail}"


# ---- B1 --------------------------------------------------------------------------------------


@EVERY_KEY
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_b1_packed(key: str, value: float) -> None:
    def result(done: ClientResult) -> ClientResult:
        assert done.arrays is not None
        arrays = done.arrays.replace(done.arrays.vector.copy())
        arrays[key].reshape(-1)[[1, -1]] = value
        return replace(done, arrays=arrays)

    said = only_rejection(run(packed(result=result)), stock=False)
    assert said == f"nonfinite: 2 numbers are NaN or infinite, first in '{key}'"


@EVERY_KEY
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_b1_stock(key: str, value: float) -> None:
    def change(array: Array) -> Array:
        numbers = array.numpy().copy()
        numbers.reshape(-1)[[1, -1]] = value
        return Array(numbers)

    said = refused(change_array(key, change), stock=True)
    assert said == f"nonfinite: 2 numbers are NaN or infinite, first in '{key}'"


def test_b1_spoils_only_its_own_row_of_a_pack() -> None:
    def result(done: ClientResult) -> ClientResult:
        assert done.arrays is not None
        return replace(done, arrays=done.arrays.replace(done.arrays.vector * np.nan))

    outcome = run(packed(result=result, pack_bytes=1 << 20))
    (rejection,) = outcome.record.rejected
    assert rejection.detail == f"80 numbers are NaN or infinite, first in '{KEYS[0]}'"
    np.testing.assert_array_equal(outcome.arrays.vector, good(False).vector)


# ---- B7 to B10 -------------------------------------------------------------------------------


@EVERY_KEY
@pytest.mark.parametrize("broadcasts", [True, False])
def test_b7_b8_stock(key: str, broadcasts: bool) -> None:
    spec = next(s for s in SCHEMA.arrays if s.key == key)
    shape = (1,) * len(spec.shape) if broadcasts else (spec.shape[0] + 1, *spec.shape[1:])
    said = refused(change_array(key, lambda _: Array(np.zeros(shape, np.float32))), stock=True)
    assert said == f"shape: '{key}': expected {spec.shape}, got {shape}"


@pytest.mark.parametrize("shape", [(1, 1), (1, 79), (1, 81), (2, 80), (80,), ()])
def test_b7_b8_packed(shape: tuple[int, ...]) -> None:
    said = refused(change_array("", lambda _: Array(np.zeros(shape, np.float32))), stock=False)
    assert said == f"shape: 'flat': expected (1, 80), got {shape}"


DTYPES = ["complex64", "int64", "uint8", "bool", "<U3", "object", "V4", "nonsense"]


@EVERY_KEY
@pytest.mark.parametrize("dtype", [*DTYPES, "float64", ">f4"])
def test_b9_b10_stock(key: str, dtype: str) -> None:
    said = refused(change_array(key, lambda array: encoded(array, dtype=dtype)), stock=True)
    assert said == f"dtype: '{key}': expected float32, got {dtype}"


@pytest.mark.parametrize("dtype", DTYPES)
def test_b9_b10_packed(dtype: str) -> None:
    said = refused(change_array("", lambda array: encoded(array, dtype=dtype)), stock=False)
    assert said == f"dtype: 'flat': expected float32 or float16 or float64, got {dtype}"


# ---- B11, B12 --------------------------------------------------------------------------------


def rekeyed(change: Callable[[dict[str, Array]], dict[str, Array]]) -> Content:
    def spoil(content: RecordDict) -> RecordDict:
        name = records_of(content)
        content[name] = ArrayRecord(change(dict(content.array_records[name])))
        return content

    return spoil


@EVERY_KEY
def test_b11_stock_keys(key: str) -> None:
    assert refused(rekeyed(lambda a: {k: v for k, v in a.items() if k != key}), stock=True) == (
        f"keys: missing '{key}'"
    )
    assert refused(rekeyed(lambda a: {**a, f"{key}x": a[key]}), stock=True) == (
        f"keys: extra '{key}x'"
    )
    renamed = rekeyed(lambda a: {k + "x" * (k == key): v for k, v in a.items()})
    assert refused(renamed, stock=True) == f"keys: missing '{key}'; extra '{key}x'"


def test_b11_packed_keys() -> None:
    assert refused(rekeyed(lambda a: {}), stock=False) == (
        "keys: expected one flat buffer, found []"
    )
    assert refused(rekeyed(lambda a: {**a, "more": a["flat"]}), stock=False) == (
        "keys: expected one flat buffer, found ['flat', 'more']"
    )
    assert refused(rekeyed(lambda a: {"flet": a["flat"]}), stock=False) == (
        "keys: expected one flat buffer, found ['flet']"
    )


def extra_record(content: RecordDict) -> RecordDict:
    content["more"] = content.array_records[records_of(content)]
    return content


def no_arrays(content: RecordDict) -> RecordDict:
    del content[records_of(content)]
    return content


def test_b11_records() -> None:
    assert refused(extra_record, True) == "keys: expected one ArrayRecord, found 2"
    assert refused(no_arrays, True) == "keys: expected one ArrayRecord, found 0"
    assert refused(lambda _: RecordDict({}), True) == "keys: expected one MetricRecord, found 0"
    assert refused(extra_record, False) == "keys: 1 records too many, first 'more'"
    assert refused(no_arrays, False) == "keys: the buffer of arrays is missing"
    assert refused(lambda _: RecordDict({}), False) == (
        "format: not an answered pack: it has no results"
    )


@pytest.mark.parametrize("order", [(2, 1, 0), (1, 2, 0), (2, 0, 1)])
def test_b12_the_order_of_keys_changes_no_bit(order: tuple[int, ...]) -> None:
    outcome = run(plain(rekeyed(lambda a: {KEYS[i]: a[KEYS[i]] for i in order})))
    assert outcome.record.rejected == ()
    np.testing.assert_array_equal(outcome.arrays.vector, run(plain()).arrays.vector)


@EVERY_KEY
def test_b12_the_order_in_memory_changes_no_bit(key: str) -> None:
    column_major = change_array(key, lambda array: Array(np.asfortranarray(array.numpy())))
    outcome = run(plain(column_major))
    assert outcome.record.rejected == ()
    np.testing.assert_array_equal(outcome.arrays.vector, run(plain()).arrays.vector)


# ---- B13 to B16 ------------------------------------------------------------------------------


def bytes_of(array: np.ndarray) -> bytes:
    return Array(array).data


def under_claim(change: Callable[[np.ndarray], bytes]) -> Callable[[Array], Array]:
    """Keep the claim, replace the bytes."""
    return lambda array: encoded(array, data=change(array.numpy()))


LIES = {
    "other shape": lambda a: bytes_of(a.reshape(-1, 2)),
    "fewer": lambda a: bytes_of(a.reshape(-1)[:3]),
    "double": lambda a: bytes_of(a.astype(np.float64)),
    "integers": lambda a: bytes_of(a.astype(np.int32)),
    "big-endian": lambda a: bytes_of(a.astype(">f4")),
    "cut short": lambda a: bytes_of(a)[:-4],
}


@BOTH
@EVERY_KEY
@pytest.mark.parametrize("lie", LIES)
def test_b13(stock: bool, key: str, lie: str) -> None:
    said = refused(change_array(key, under_claim(LIES[lie])), stock)
    assert said.startswith(f"header: '{key if stock else 'flat'}': ")


class Trap:
    """Runs when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return (Path.touch, (self.path,))


def npz(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, x=array)
    return stream.getvalue()


def zipped(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        file.writestr("x", "y")
    return stream.getvalue()


GARBAGE = {
    "npz": npz,
    "zip": zipped,
    "empty": lambda _: b"",
    "noise": lambda _: np.random.default_rng(0).bytes(200),
    "magic alone": lambda a: bytes_of(a)[:6],
    "cut in the header": lambda a: bytes_of(a)[:60],
    "version 9": lambda a: bytes_of(a)[:6] + b"\x09\x00" + bytes_of(a)[8:],
    "long header": lambda a: bytes_of(a)[:8] + b"\xff\xff" + bytes_of(a)[10:],
    "python in the header": lambda a: bytes_of(a).replace(b"'fortran_order'", b"__import__('os')"),
    "not a number": lambda a: bytes_of(a).replace(b"<f4", b"[[["),
}


@BOTH
@EVERY_KEY
@pytest.mark.parametrize("kind", GARBAGE)
def test_b14_garbage(stock: bool, key: str, kind: str) -> None:
    said = refused(change_array(key, under_claim(GARBAGE[kind])), stock)
    assert said.startswith(f"format: '{key if stock else 'flat'}': not a plain array, its ")


@BOTH
@EVERY_KEY
def test_b14_pickles_are_not_opened(stock: bool, key: str, tmp_path: Path) -> None:
    trap = tmp_path / "sprung"
    stream = io.BytesIO()
    np.save(stream, np.array([Trap(trap)], dtype=object), allow_pickle=True)
    objects = stream.getvalue()
    pickled = objects[objects.index(b"\n") + 1 :]
    said = refused(change_array(key, under_claim(lambda _: pickled)), stock)
    assert said.startswith("format: ")
    assert said.endswith("(a pickle)")
    said = refused(change_array(key, under_claim(lambda _: objects)), stock)
    assert said.startswith("format: ")
    assert said.endswith("an array of objects")
    assert not trap.exists()
    np.load(io.BytesIO(objects), allow_pickle=True)
    assert trap.exists(), "the trap is none"


@BOTH
def test_b14_another_serialisation(stock: bool) -> None:
    said = refused(change_array(KEYS[1], lambda a: encoded(a, stype="torch.Tensor")), stock)
    assert said.endswith("expected numpy.ndarray, got torch.Tensor")
    assert said.startswith("format: ")


def bomb(array: Array) -> Array:
    """Claims 1e12 numbers in 192 bytes, in the claim and in the header."""
    stream = io.BytesIO()
    shape = (10**6, 10**6)
    np.lib.format.write_array_header_1_0(
        stream, {"descr": "<f4", "fortran_order": False, "shape": shape}
    )
    return Array("float32", shape, "numpy.ndarray", stream.getvalue().ljust(192, b"\0"))


def hidden_bomb(array: Array) -> Array:
    """Claims what was asked for; only the header in the bytes lies."""
    return encoded(array, data=bomb(array).data)


@BOTH
@EVERY_KEY
def test_b15_b16_sizes_are_refused_before_memory_is_taken(stock: bool, key: str) -> None:
    spoils: dict[str, Content] = {
        "size: claims 1e+12 numbers": change_array(key, bomb),
        f"header: '{key if stock else 'flat'}': claims <f4": change_array(key, hidden_bomb),
        "size: claims 8": change_array(key, lambda _: Array(np.zeros((100, 80), np.float32))),
        "size: ": change_array(key, lambda a: encoded(a, data=a.data * 100)),
        "size: claims 70 axes": change_array(key, lambda a: encoded(a, shape=(1,) * 70)),
        "header: claims shape (-1,": change_array(key, lambda a: encoded(a, shape=(-1, 4))),
    }
    for expected, spoil in spoils.items():
        assert refused(spoil, stock).startswith(expected)


@BOTH
def test_b16_a_hundred_times_the_bytes_and_a_crowd_of_keys(stock: bool) -> None:
    tiny = Array(np.zeros(1, np.float32))
    crowd = {f"k{i}": tiny for i in range(20_000)}
    spoils = {
        "20000": rekeyed(lambda a: crowd),
        "bytes for 80 expected numbers": change_array(
            KEYS[0], lambda a: encoded(a, data=bytes(1 << 20))
        ),
    }
    for expected, spoil in spoils.items():
        said = refused(spoil, stock)
        assert said.startswith("size: ")
        assert expected in said


def test_reading_a_bomb_takes_no_memory() -> None:
    from models.errors import ClientError
    from models.records import from_flat

    record = ArrayRecord({"flat": bomb(Array(np.zeros(1)))})
    tracemalloc.start()
    with pytest.raises(ClientError, match="size"):
        from_flat(record, SCHEMA, 1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000
