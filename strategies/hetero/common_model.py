"""A wrapper for methods in which each client trains a common model beside its own.

The common model is the run's: its adapter travels and is aggregated by the rule inside, and it is
tested on the server and exported like any other. The clients' own models stay with them.
"""

from __future__ import annotations

from typing import ClassVar

from models.beside.keys import SHARED
from models.schema import ArraySpec, NamedArrays, Schema
from strategies.hetero.shared_part import SharedPart


class CommonModelShared(SharedPart):
    """Base of methods that share the adapter of a common model."""

    has_global_model: ClassVar[bool] = True

    def initialise(self, arrays: NamedArrays) -> None:
        """Remember the adapter's own keys."""
        self._schema = arrays.schema
        super().initialise(arrays)

    def part(self, arrays: NamedArrays) -> NamedArrays:
        """Return the run's first adapter, under the keys that it has beside the client's own."""
        specs = (ArraySpec(f"{SHARED}{s.key}", s.shape, s.dtype) for s in arrays.schema.arrays)
        facts = {k: v for k, v in arrays.schema.facts.items() if k != "scaling"}
        return NamedArrays(Schema(tuple(specs), facts), arrays.vector.copy())

    @property
    def model(self) -> NamedArrays:
        """The common model's adapter, under its own keys."""
        return NamedArrays(self._schema, self.arrays.vector)
