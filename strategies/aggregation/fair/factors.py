"""FairLoRA's factors in a schema, and their means.

Of an adapted layer there are U of shape (in, r), S (groups, r) and V (r, out); the layer changes by
U diag(s) V with s = sum_g pi_g S_g.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Self

import numpy as np
import numpy.typing as npt

from models.errors import BouquetError
from models.schema import NamedArrays, Schema, Vector
from strategies.aggregation.mean import WeightedMean

Floats = npt.NDArray[np.float64]

_FACTOR = re.compile(r"^(?P<layer>.+)\.fairlora_(?P<letter>[USV])$")


def layers_of(schema: Schema) -> tuple[str, ...]:
    """Return the layers that have all three factors, in schema order."""
    found: dict[str, set[str]] = {}
    for key in schema.slices:
        match = _FACTOR.match(key)
        if match:
            found.setdefault(match["layer"], set()).add(match["letter"])
    return tuple(layer for layer, letters in found.items() if letters == {"U", "S", "V"})


def key_of(layer: str, letter: str) -> str:
    """Return the key of a layer's U, S or V."""
    return f"{layer}.fairlora_{letter}"


def keys_of_s(schema: Schema) -> tuple[str, ...]:
    """Return the keys of all S.

    Raises
    ------
    BouquetError
        It is another kind of adapter, or S of different numbers of groups.
    """
    keys = tuple(k for k in schema.slices if (m := _FACTOR.match(k)) and m["letter"] == "S")
    shapes = {schema.slices[key][1][0] for key in keys}
    if len(shapes) > 1:
        raise BouquetError(f"singular values of {sorted(shapes)} groups in one adapter")
    return keys


def group_weights(counts: object, groups: int, examples: int, weight: float) -> Floats:
    """Return a client's weight for each group's singular values: its examples of the group.

    Parameters
    ----------
    counts : object
        What the client says: a whole number for each group. What cannot be so counts as none.
    groups : int
    examples : int
        Of the client; all groups together have no more.
    weight : float
        Of the client in the mean; its examples, unless a wrapper changed that.
    """
    none = np.zeros(groups)
    if not isinstance(counts, list) or len(counts) != groups:
        return none
    if not all(type(n) is int and 0 <= n <= examples for n in counts):
        return none
    given = np.asarray(counts, dtype=np.float64)
    if examples == 0 or given.sum() > examples:
        return none
    return given * (weight / examples)


class FactorMeans:
    """Running sums: everything by the clients' weights, each row of S by its group's.

    Parameters
    ----------
    schema : Schema
        Of what clients return.
    """

    def __init__(self, schema: Schema) -> None:
        self._keys = keys_of_s(schema)
        self._schema = schema
        self.groups = schema.slices[self._keys[0]][1][0] if self._keys else 0
        self.mean = WeightedMean(schema.size)
        self.rows = {key: np.zeros(schema.slices[key][1]) for key in self._keys}
        self.weights = np.zeros(self.groups)

    def add(self, arrays: NamedArrays, weight: float, by_group: Floats) -> None:
        """Add one client's adapter with its weight and the weights of its groups."""
        self.mean.add(arrays.vector, weight)
        for key, rows in self.rows.items():
            rows += by_group[:, None] * arrays[key]
        self.weights += by_group

    def merge(self, other: Self) -> None:
        """Add another stream's sums."""
        self.mean.merge(other.mean)
        for key, rows in self.rows.items():
            rows += other.rows[key]
        self.weights += other.weights

    def result(self, old: NamedArrays) -> NamedArrays | None:
        """Return the means; a group that nobody had keeps its row of `old`. None without weight."""
        vector = self.mean.result()
        if vector is None:
            return None
        there = self.weights > 0
        for key, rows in self.rows.items():
            place, _ = self._schema.slices[key]
            mean = old[key].astype(np.float64)
            mean[there] = rows[there] / self.weights[there, None]
            vector[place] = mean.reshape(-1)
        return old.replace(vector)


def with_shared_half(arrays: NamedArrays) -> NamedArrays:
    """Return the adapter with the first half of S averaged over groups."""
    vector: Vector = arrays.vector.astype(np.float64)
    for key in keys_of_s(arrays.schema):
        place, shape = arrays.schema.slices[key]
        s = vector[place].reshape(shape)
        half = shape[1] // 2
        s[:, :half] = s[:, :half].mean(axis=0)
    return arrays.replace(vector)


def blended(new: NamedArrays, old: NamedArrays, share: float) -> NamedArrays:
    """Return ``(1 - share) new + share old``."""
    if share == 0:
        return new
    mixed = (1 - share) * new.vector.astype(np.float64) + share * old.vector.astype(np.float64)
    return new.replace(mixed)


def assembled(
    arrays: NamedArrays, factors: Mapping[str, tuple[Floats, Floats, Floats]]
) -> NamedArrays:
    """Return the adapter with the factors of some layers replaced."""
    changed = {
        key_of(layer, letter): factor
        for layer, parts in factors.items()
        for letter, factor in zip("USV", parts, strict=True)
    }
    return arrays.overlaid(changed)
