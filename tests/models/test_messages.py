from __future__ import annotations

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord
from hypothesis import given
from hypothesis import strategies as st

from models.errors import ClientError
from models.messages import PackHeader, PackRequest
from models.records import from_flat, from_stock, to_flat, to_stock
from models.schema import NamedArrays, Schema

SCHEMA = Schema.of({"a": np.zeros((2, 2), np.float32), "b": np.zeros(3, np.float32)}, {"rank": 2})
WIDE = Schema.of({"a": np.zeros((4, 2), np.float32)}, {"rank": 4})


def arrays(start: float, schema: Schema = SCHEMA) -> NamedArrays:
    return NamedArrays(schema, np.arange(start, start + schema.size, dtype=np.float32))


def through(request: PackRequest) -> PackRequest:
    header = PackHeader.from_content(request.to_content())
    return header.open({SCHEMA.hash: SCHEMA, WIDE.hash: WIDE})


def test_stock_records_keep_keys_shapes_and_numbers() -> None:
    record = to_stock(arrays(1))
    assert sorted(record) == ["a", "b"]
    assert record["a"].shape == (2, 2)
    back = from_stock(ArrayRecord(dict(reversed(list(record.items())))), {"rank": 2})
    assert back.schema == SCHEMA
    assert back.vector.tolist() == arrays(1).vector.tolist()


def test_a_shared_start_travels_once() -> None:
    request = PackRequest("p" * 16, 3, ("x", "y", "z"), (arrays(1),), ({"mu": 0.1},) * 3)
    (record,) = request.to_content().array_records.values()
    assert next(iter(record.values())).shape == (1, 7)
    back = through(request)
    assert (back.clients, back.server_round, len(back.arrays)) == (("x", "y", "z"), 3, 1)
    for index in range(3):
        start, options = back.of(index)
        assert start.vector.tolist() == [1, 2, 3, 4, 5, 6, 7]
        assert options == {"mu": 0.1}


def test_each_client_may_have_its_own_arrays_options_and_schema() -> None:
    own = PackRequest(
        "p", 1, ("x", "y"), (arrays(1), arrays(50, WIDE)), ({"k": 1}, {"k": 2, "s": "t"})
    )
    back = through(own)
    assert back.of(0)[0].schema == SCHEMA
    assert back.of(1)[0].schema == WIDE
    assert back.of(1)[0].vector[0] == 50
    assert back.of(1)[1] == {"k": 2, "s": "t"}


def test_a_schema_that_the_node_lacks_is_named() -> None:
    request = PackRequest("p", 1, ("x",), (arrays(1),), ({},))
    header = PackHeader.from_content(request.to_content(known=[SCHEMA.hash]))
    with pytest.raises(ClientError, match=f"asked for schema {SCHEMA.hash}"):
        header.open({WIDE.hash: WIDE})


def test_a_schema_that_the_plan_does_not_have_travels_along() -> None:
    request = PackRequest("p", 1, ("x",), (arrays(1),), ({},))
    header = PackHeader.from_content(request.to_content(known=[WIDE.hash]))
    assert header.open({WIDE.hash: WIDE}).arrays[0].schema == SCHEMA


@given(
    st.lists(
        st.floats(-(2.0**100), 2.0**100, width=32, allow_subnormal=False), min_size=7, max_size=7
    )
)
def test_bfloat16_rounds_to_nearest(values: list[float]) -> None:
    vector = np.float32(values)
    back = from_flat(to_flat([vector], "bfloat16"), SCHEMA, 1)[0]
    # Eight bits of mantissa: half a unit in the last place.
    np.testing.assert_array_less(np.abs(back - vector), np.abs(vector) * 2.0**-8 + 1e-38)


@pytest.mark.parametrize("wire", ["float32", "float16", "bfloat16"])
def test_wire_dtypes_carry_small_integers_and_nan(wire: str) -> None:
    vector = np.float32([0, -1, 2, 3, 100, np.nan, -0.5])
    back = from_flat(to_flat([vector, vector], wire), SCHEMA, 2)  # type: ignore[arg-type]
    assert back.dtype == np.float32
    np.testing.assert_array_equal(back, [vector, vector])


def flat(values: np.ndarray, key: str = "flat", **claims: object) -> ArrayRecord:
    array = Array(values)
    for name, claim in claims.items():
        array.__dict__[name] = claim
    return ArrayRecord({key: array})


@pytest.mark.parametrize(
    ("record", "code"),
    [
        (flat(np.zeros((1, 6), np.float32)), "shape"),
        (flat(np.zeros((1, 7), np.complex64)), "dtype"),
        (flat(np.zeros((1, 7), np.int64)), "dtype"),
        (flat(np.zeros((1, 7), np.float32), key="other"), "keys"),
        (ArrayRecord({}), "keys"),
        (flat(np.zeros((1, 7), np.float32), data=b"\x80\x04N."), "format"),
        (flat(np.zeros((1, 7), np.float32), data=b"x" * 5000), "size"),
        (flat(np.zeros((1, 9), np.float32), shape=(1, 7)), "header"),
        (flat(np.zeros((1, 7), np.float64), dtype="float32"), "header"),
        (flat(np.zeros((1, 7), np.float32), shape=(1, 10**12)), "size"),
    ],
)
def test_a_buffer_that_does_not_fit_is_refused(record: ArrayRecord, code: str) -> None:
    with pytest.raises(ClientError) as caught:
        from_flat(record, SCHEMA, 1)
    assert caught.value.code_name == code
