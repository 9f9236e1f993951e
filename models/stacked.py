"""Several models in one payload, for clients that choose among them or use them all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from models.errors import BouquetError
from models.schema import ArraySpec, NamedArrays, Schema

_COUNT = "models"
_TABLE = "table."


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


def beside(stacked: NamedArrays, **tables: npt.NDArray[np.floating]) -> NamedArrays:
    """Return stacked models with tables of plain numbers in the same payload."""
    schema = schema_beside(stacked.schema, **{name: t.shape for name, t in tables.items()})
    whole = NamedArrays(schema, np.zeros(schema.size, schema.dtype))
    for key in stacked:
        whole[key][...] = stacked[key]
    for name, table in tables.items():
        whole[f"{_TABLE}{name}"][...] = table
    return whole


def schema_beside(schema: Schema, **tables: tuple[int, ...]) -> Schema:
    """Return the schema of `beside`'s result; each table by name with its shape."""
    specs = [ArraySpec(f"{_TABLE}{name}", shape) for name, shape in tables.items()]
    return Schema(tuple(sorted([*schema.arrays, *specs], key=lambda s: s.key)), schema.facts)


def taken_apart(
    arrays: NamedArrays,
) -> tuple[tuple[NamedArrays, ...], dict[str, npt.NDArray[np.floating]]]:
    """Return the models of a payload, and the tables beside them by name."""
    tables = {key.removeprefix(_TABLE): arrays[key] for key in arrays if key.startswith(_TABLE)}
    models = arrays.schema.only([key for key in arrays if not key.startswith(_TABLE)])
    return unstack(arrays.only(models)), tables


def _start(number: int) -> str:
    return f"model-{number:04d}."
