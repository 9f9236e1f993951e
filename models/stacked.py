"""Several models in one payload, for clients that choose among them or use them all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models.errors import BouquetError
from models.schema import ArraySpec, NamedArrays, Schema

_COUNT = "models"


def stacked_schema(schema: Schema, count: int) -> Schema:
    """Return the schema of `count` models of one schema, one behind the other.

    Raises
    ------
    BouquetError
        Fewer than one, more than 9,999, or a schema that is stacked already.
    """
    if not 0 < count < 10_000 or _COUNT in schema.facts:
        raise BouquetError(f"{count} models of {schema.hash} make no payload")
    specs = (
        ArraySpec(f"{_start(number)}{spec.key}", spec.shape, spec.dtype)
        for number in range(count)
        for spec in schema.arrays
    )
    return Schema(tuple(specs), {**schema.facts, _COUNT: count})


def stack(models: Sequence[NamedArrays]) -> NamedArrays:
    """Return models of one schema as one payload, in the order given."""
    schema = stacked_schema(models[0].schema, len(models))
    return NamedArrays(schema, np.concatenate([model.vector for model in models]))


def unstack(arrays: NamedArrays) -> tuple[NamedArrays, ...]:
    """Return the models of a payload; arrays that are not stacked are the only one."""
    count = arrays.schema.facts.get(_COUNT)
    if not isinstance(count, int):
        return (arrays,)
    size = len(arrays.schema.arrays) // count
    start = len(_start(0))
    specs = (ArraySpec(s.key[start:], s.shape, s.dtype) for s in arrays.schema.arrays[:size])
    facts = {name: value for name, value in arrays.schema.facts.items() if name != _COUNT}
    schema = Schema(tuple(specs), facts)
    return tuple(NamedArrays(schema, part) for part in np.split(arrays.vector, count))


def _start(number: int) -> str:
    return f"model-{number:04d}."
