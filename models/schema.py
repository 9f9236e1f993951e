"""The schema of what travels: which arrays, in which order, of which shape, over which base.

A payload between our own halves is one flat vector in schema order; its schema is named by hash,
so a client with another rank, another base or another set of keys is told apart before any
number is looked at.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from models.errors import BouquetError

Vector = npt.NDArray[np.floating]
Fact = str | int | float | bool


@dataclass(frozen=True)
class ArraySpec:
    """One array: its key, shape and dtype name."""

    key: str
    shape: tuple[int, ...]
    dtype: str = "float32"

    @property
    def size(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))


@dataclass(frozen=True)
class Schema:
    """Arrays in canonical (sorted) order and the facts that must agree for them to mean the same.

    Parameters
    ----------
    arrays : tuple of ArraySpec
        Sorted by key; use `Schema.of` to build one from any order.
    facts : mapping
        Plain values such as ``kind``, ``rank``, ``scaling``, ``base`` (the fingerprint).
    """

    arrays: tuple[ArraySpec, ...]
    facts: Mapping[str, Fact] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "facts", MappingProxyType(dict(sorted(self.facts.items()))))

    @classmethod
    def of(
        cls,
        arrays: Mapping[str, npt.NDArray[np.generic]],
        facts: Mapping[str, Fact] | None = None,
    ) -> Schema:
        """Describe a mapping of arrays."""
        specs = (ArraySpec(k, tuple(arrays[k].shape), str(arrays[k].dtype)) for k in sorted(arrays))
        return cls(tuple(specs), facts or {})

    @cached_property
    def size(self) -> int:
        """Total number of elements."""
        return sum(spec.size for spec in self.arrays)

    @cached_property
    def dtype(self) -> np.dtype[np.generic]:
        """Dtype of the flat vector: float32 unless an array needs more to keep its values."""
        narrow = all(s.dtype in {"float32", "float16", "bfloat16"} for s in self.arrays)
        return np.dtype(np.float32 if narrow else np.float64)

    @cached_property
    def slices(self) -> Mapping[str, tuple[slice, tuple[int, ...]]]:
        """For each key its place in the flat vector and its shape."""
        places: dict[str, tuple[slice, tuple[int, ...]]] = {}
        start = 0
        for spec in self.arrays:
            places[spec.key] = (slice(start, start + spec.size), spec.shape)
            start += spec.size
        return places

    def in_head(self, key: str) -> bool:
        """Say whether an array belongs to the head, the fresh modules that are trained whole.

        The fact ``head`` names them, between commas.
        """
        heads = str(self.facts.get("head", "")).split(",")
        return any(head and f".{head}." in f".{key}." for head in heads)

    @cached_property
    def head_matrix(self) -> ArraySpec | None:
        """The weight of the head's last linear layer, shape (labels, features); None without."""
        labels = self.facts.get("labels")
        found = [
            spec
            for spec in self.arrays
            if self.in_head(spec.key)
            and len(spec.shape) == 2
            and (labels is None or spec.shape[0] == labels)
        ]
        return found[-1] if found else None

    def only(self, keys: Collection[str]) -> Schema:
        """Return the schema of some of the arrays, with the same facts.

        Raises
        ------
        BouquetError
            A key that is not there.
        """
        unknown = sorted(set(keys) - self.slices.keys())
        if unknown:
            raise BouquetError(f"the schema has no array '{unknown[0]}'")
        wanted = frozenset(keys)
        return Schema(tuple(spec for spec in self.arrays if spec.key in wanted), self.facts)

    def beside(self, other: Schema) -> Schema:
        """Return the schema of both, with this one's facts.

        Raises
        ------
        BouquetError
            A key that both have.
        """
        twice = sorted(self.slices.keys() & other.slices.keys())
        if twice:
            raise BouquetError(f"two arrays of one payload are called '{twice[0]}'")
        specs = sorted((*self.arrays, *other.arrays), key=lambda spec: spec.key)
        return Schema(tuple(specs), self.facts)

    def to_json(self) -> str:
        """Return the canonical text; equal schemas give equal text."""
        rows = [[s.key, list(s.shape), s.dtype] for s in self.arrays]
        return json.dumps({"arrays": rows, "facts": dict(self.facts)}, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Schema:
        """Read `to_json`'s text back."""
        raw = json.loads(text)
        specs = tuple(ArraySpec(k, tuple(shape), dtype) for k, shape, dtype in raw["arrays"])
        return cls(specs, raw["facts"])

    @cached_property
    def hash(self) -> str:
        """Short name of the schema (16 hexadecimal digits)."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:16]

    def differences(self, other: Schema) -> list[str]:
        """Say in words how `other` (found) differs from this one (expected)."""
        found = {s.key: s for s in other.arrays}
        wanted = {s.key: s for s in self.arrays}
        lines = [
            f"{name} is {other.facts.get(name)!r}, expected {self.facts.get(name)!r}"
            for name in sorted({*self.facts, *other.facts})
            if self.facts.get(name) != other.facts.get(name)
        ]
        missing, extra = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
        if missing:
            lines.append(f"missing {len(missing)} arrays, first '{missing[0]}'")
        if extra:
            lines.append(f"{len(extra)} arrays too many, first '{extra[0]}'")
        for key in sorted(wanted.keys() & found.keys()):
            if wanted[key] != found[key]:
                a, b = wanted[key], found[key]
                lines.append(f"'{key}' is {b.dtype}{b.shape}, expected {a.dtype}{a.shape}")
                break
        return lines


class NamedArrays(Mapping[str, npt.NDArray[np.floating]]):
    """Arrays by key, held as one flat vector in schema order.

    Parameters
    ----------
    schema : Schema
        What the numbers are.
    vector : ndarray, shape (schema.size,)
        The numbers; indexing returns views into it.
    """

    __slots__ = ("schema", "vector")

    def __init__(self, schema: Schema, vector: Vector) -> None:
        if vector.shape != (schema.size,):
            raise BouquetError(
                f"a vector of shape {vector.shape} does not fit a schema of {schema.size} numbers"
            )
        self.schema = schema
        self.vector = vector

    @classmethod
    def of(
        cls,
        arrays: Mapping[str, npt.NDArray[np.generic]],
        facts: Mapping[str, Fact] | None = None,
    ) -> NamedArrays:
        """Copy a mapping of arrays, in any order, into one vector."""
        schema = Schema.of(arrays, facts)
        vector = np.empty(schema.size, dtype=schema.dtype)
        for key, (place, _) in schema.slices.items():
            vector[place] = np.asarray(arrays[key]).reshape(-1)
        return cls(schema, vector)

    def __getitem__(self, key: str) -> npt.NDArray[np.floating]:
        place, shape = self.schema.slices[key]
        return self.vector[place].reshape(shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self.schema.slices)

    def __len__(self) -> int:
        return len(self.schema.arrays)

    def replace(self, vector: Vector) -> NamedArrays:
        """Return arrays of the same schema with other numbers (cast to the schema's dtype)."""
        return NamedArrays(self.schema, vector.astype(self.schema.dtype, copy=False))

    def only(self, schema: Schema) -> NamedArrays:
        """Return a copy of some of the arrays.

        Parameters
        ----------
        schema : Schema
            What `Schema.only` gave.
        """
        parts = [self.vector[self.schema.slices[spec.key][0]] for spec in schema.arrays]
        empty = np.empty(0, dtype=self.vector.dtype)
        return NamedArrays(schema, np.concatenate([empty, *parts]))

    def beside(self, other: NamedArrays) -> NamedArrays:
        """Return a copy of both in one payload, with the facts of this one's schema."""
        schema = self.schema.beside(other.schema)
        parts = [
            (self if spec.key in self.schema.slices else other)[spec.key] for spec in schema.arrays
        ]
        flat = [np.empty(0, schema.dtype), *(part.reshape(-1) for part in parts)]
        return NamedArrays(schema, np.concatenate(flat, dtype=schema.dtype))

    def overlaid(self, part: Mapping[str, npt.NDArray[np.generic]]) -> NamedArrays:
        """Return a copy in which some of the arrays are replaced.

        Raises
        ------
        BouquetError
            An array that is not there, or of another shape.
        """
        vector = self.vector.copy()
        for key, array in part.items():
            place, shape = self.schema.slices.get(key, (None, ()))
            if place is None or array.shape != shape:
                raise BouquetError(f"no array '{key}' of shape {tuple(array.shape)} to replace")
            vector[place] = array.reshape(-1)
        return NamedArrays(self.schema, vector)

    def typed(self) -> dict[str, npt.NDArray[np.generic]]:
        """Return a copy of each array in its own dtype (integers rounded)."""
        out: dict[str, npt.NDArray[np.generic]] = {}
        for spec in self.schema.arrays:
            values = self[spec.key]
            dtype = np.dtype("float32" if spec.dtype == "bfloat16" else spec.dtype)
            out[spec.key] = (np.rint(values) if dtype.kind in "iub" else values).astype(dtype)
        return out
