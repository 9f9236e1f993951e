from __future__ import annotations

import numpy as np
import pytest

from models.errors import BouquetError
from models.schema import NamedArrays, Schema
from models.stacked import stack, stacked_schema, unstack


def model(value: float) -> NamedArrays:
    arrays = {
        "b": np.full((2, 3), value, np.float32),
        "a": np.full(4, value + 0.5, np.float32),
    }
    return NamedArrays.of(arrays, {"rank": 2})


@pytest.mark.parametrize("count", [1, 2, 12])
def test_what_is_stacked_comes_back(count: int) -> None:
    models = [model(float(i)) for i in range(count)]
    payload = stack(models)
    assert len(payload.vector) == count * 10
    assert payload.schema.to_json() == Schema.from_json(payload.schema.to_json()).to_json()
    for before, after in zip(models, unstack(payload), strict=True):
        assert after.schema.hash == before.schema.hash
        np.testing.assert_array_equal(after.vector, before.vector)


def test_keys_are_in_canonical_order() -> None:
    keys = [spec.key for spec in stacked_schema(model(0).schema, 11).arrays]
    assert keys == sorted(keys)


def test_one_model_stays_as_it_is() -> None:
    single = model(3)
    assert unstack(single) == (single,)


def test_a_stack_of_stacks_is_refused() -> None:
    with pytest.raises(BouquetError, match="no payload"):
        stack([stack([model(0), model(1)])])
