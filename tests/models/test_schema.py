from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from models.errors import BouquetError
from models.schema import ArraySpec, NamedArrays, Schema

ARRAYS = {"b": np.arange(6, dtype=np.float32).reshape(2, 3), "a": np.float32([7.0])}


def test_vector_is_in_sorted_key_order_and_views_share_it() -> None:
    arrays = NamedArrays.of(ARRAYS)
    assert list(arrays) == ["a", "b"]
    assert arrays.vector.tolist() == [7, 0, 1, 2, 3, 4, 5]
    arrays["b"][1, 2] = 50
    assert arrays.vector[-1] == 50


def test_hash_ignores_given_order_but_not_shape_dtype_or_facts() -> None:
    base = Schema.of(ARRAYS, {"rank": 8})
    assert Schema.of(dict(reversed(ARRAYS.items())), {"rank": 8}).hash == base.hash
    assert Schema.of({**ARRAYS, "a": np.float32([[7.0]])}, {"rank": 8}).hash != base.hash
    assert Schema.of({**ARRAYS, "a": np.float64([7.0])}, {"rank": 8}).hash != base.hash
    assert Schema.of(ARRAYS, {"rank": 4}).hash != base.hash
    assert Schema.from_json(base.to_json()) == base


def test_differences_name_both_values() -> None:
    mine = Schema((ArraySpec("a", (2,)), ArraySpec("b", (3,))), {"rank": 8, "base": "x"})
    other = Schema((ArraySpec("a", (4,)), ArraySpec("c", (3,))), {"rank": 4, "base": "x"})
    text = "; ".join(mine.differences(other))
    assert "rank is 4, expected 8" in text
    assert "missing 1 arrays, first 'b'" in text
    assert "1 arrays too many, first 'c'" in text
    assert "'a' is float32(4,), expected float32(2,)" in text
    assert mine.differences(mine) == []


def test_a_vector_of_another_length_is_refused() -> None:
    with pytest.raises(BouquetError, match=r"\(6,\) does not fit a schema of 7"):
        NamedArrays(Schema.of(ARRAYS), np.zeros(6, np.float32))


@given(
    st.dictionaries(
        st.text("abc.", min_size=1, max_size=4),
        hnp.arrays(
            st.sampled_from([np.float32, np.float64, np.int64]),
            hnp.array_shapes(max_dims=3, max_side=3, min_side=0),
            elements=st.integers(-1000, 1000),
        ),
        max_size=4,
    )
)
def test_any_arrays_come_back_as_they_were(arrays: dict[str, np.ndarray]) -> None:
    back = NamedArrays.of(arrays).typed()
    assert back.keys() == arrays.keys()
    for key, value in arrays.items():
        assert back[key].dtype == value.dtype
        np.testing.assert_array_equal(back[key], value)
