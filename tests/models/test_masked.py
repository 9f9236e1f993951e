"""Arrays with a mask: a bit a number on the wire, and nothing is believed of it."""

from __future__ import annotations

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord
from hypothesis import given
from hypothesis import strategies as st

from models.errors import BouquetError, ClientError
from models.messages import pack_results, unpack_results
from models.payloads.masked import (
    mask_of,
    masked,
    masked_schema,
    numbers_of,
    numbers_schema,
    packed,
    unpacked,
)
from models.records import from_wire, record_bytes, to_wire, wire_bytes
from models.results import ClientResult
from models.schema import NamedArrays, Schema
from models.sparse import sparse_schema

SCHEMA = Schema.of({"a": np.zeros((5, 3), np.float32), "b": np.zeros(4, np.float32)}, {"rank": 5})
NUMBERS = NamedArrays(SCHEMA, np.linspace(-1, 1, 19, dtype=np.float32))
MASK = np.arange(19) % 3 == 0


def test_numbers_and_mask_come_apart_again() -> None:
    both = masked(NUMBERS, MASK)
    assert both.schema == masked_schema(SCHEMA)
    assert numbers_schema(both.schema) == SCHEMA
    np.testing.assert_array_equal(numbers_of(both).vector, NUMBERS.vector)
    np.testing.assert_array_equal(mask_of(both), MASK)
    assert numbers_of(NUMBERS) is NUMBERS


@given(st.lists(st.booleans(), min_size=1, max_size=70))
def test_bits_come_back(bits: list[bool]) -> None:
    mask = np.array(bits)
    np.testing.assert_array_equal(unpacked(packed(mask), len(bits)), mask)


@pytest.mark.parametrize(("wire", "each"), [("float32", 4), ("float16", 2), ("bfloat16", 2)])
def test_a_mask_costs_a_bit_a_number(wire: str, each: int) -> None:
    rows = [masked(NUMBERS, MASK), masked(NUMBERS, ~MASK)]
    record = to_wire(rows, wire)  # type: ignore[arg-type]
    header = 128  # of each .npy
    assert record_bytes(record) == 2 * (19 * each + 3) + 2 * header
    assert wire_bytes(rows[0], wire) == 19 * each + 3  # type: ignore[arg-type]
    read = from_wire(record, rows[0].schema, 2)
    np.testing.assert_array_equal(read[:, 19:], [MASK, ~MASK])
    np.testing.assert_allclose(read[0, :19], NUMBERS.vector, atol=0.005)


def test_a_pack_carries_masks() -> None:
    both = masked(NUMBERS, MASK)
    content = pack_results([ClientResult("x", 3, {}, {}, both)], "float32", 2)
    found = unpack_results(content, ("x",), {"x": both.schema}, 2).results["x"].arrays
    assert found is not None
    np.testing.assert_array_equal(found.vector, both.vector)


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda r: r.pop("mask"), "keys"),
        (lambda r: r.pop("flat"), "keys"),
        (lambda r: r.update({"mask": Array(np.zeros((1, 2), np.uint8))}), "shape"),
        (lambda r: r.update({"mask": Array(np.zeros((1, 3), np.int8))}), "dtype"),
        (lambda r: r.update({"mask": Array(np.full((1, 3), 255, np.uint8))}), "format"),
        (lambda r: r.update({"more": Array(np.zeros((1, 3), np.uint8))}), "keys"),
    ],
)
def test_what_is_no_mask_is_refused(spoil: object, code: str) -> None:
    record = to_wire([masked(NUMBERS, MASK)])
    spoil(record)  # type: ignore[operator]
    with pytest.raises(ClientError) as caught:
        from_wire(ArrayRecord(dict(record)), masked_schema(SCHEMA), 1)
    assert caught.value.code_name == code


@pytest.mark.parametrize("schema", [masked_schema(SCHEMA), sparse_schema(SCHEMA)])
def test_no_mask_behind_a_mask(schema: Schema) -> None:
    with pytest.raises(BouquetError, match="take no mask"):
        masked_schema(schema)


def test_the_gate_measures_and_clips_numbers_and_leaves_the_mask() -> None:
    from strategies.transport.screening.norms import clipped, update_norm

    moved = masked(NUMBERS.replace(NUMBERS.vector + 2), MASK)
    assert update_norm(moved, NUMBERS) == pytest.approx(2 * np.sqrt(19))
    half = clipped(moved, NUMBERS, 0.5)
    np.testing.assert_allclose(numbers_of(half).vector, NUMBERS.vector + 1, rtol=1e-6)
    np.testing.assert_array_equal(mask_of(half), MASK)
