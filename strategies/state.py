"""A strategy's state, and its options: both plain values that files and settings can hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict

from models.schema import Vector

Value = str | int | float | bool | None


@dataclass(frozen=True)
class State:
    """A strategy's whole state: named vectors and plain values; JSON and safetensors hold it."""

    arrays: Mapping[str, Vector] = field(default_factory=dict)
    values: Mapping[str, Value] = field(default_factory=dict)

    def nested(self, name: str) -> State:
        """Return the same state under a prefix, for a wrapper's inner strategy."""
        return State(
            {f"{name}/{k}": v for k, v in self.arrays.items()},
            {f"{name}/{k}": v for k, v in self.values.items()},
        )

    def under(self, name: str) -> State:
        """Return the part that `nested` put under a prefix."""
        start = f"{name}/"
        return State(
            {k[len(start) :]: v for k, v in self.arrays.items() if k.startswith(start)},
            {k[len(start) :]: v for k, v in self.values.items() if k.startswith(start)},
        )

    def beside(self, name: str) -> State:
        """Return the part that `nested` did not put under a prefix."""
        start = f"{name}/"
        return State(
            {k: v for k, v in self.arrays.items() if not k.startswith(start)},
            {k: v for k, v in self.values.items() if not k.startswith(start)},
        )

    def __or__(self, other: State) -> State:
        return State({**self.arrays, **other.arrays}, {**self.values, **other.values})


class Options(BaseModel):
    """Base of a method's options: typed, frozen, closed; each field carries its help.

    In ``strategy-args`` names are in kebab-case: ``learning_rate`` is ``learning-rate``.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=lambda name: name.replace("_", "-"),
        populate_by_name=True,
    )
