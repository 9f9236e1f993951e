"""A client half around another one: the same round, and something of its own beside it.

A message names it as ``around``, with options ``around.<option>``, beside the ``trainer`` of the
rule inside. What the inner half keeps on the node stays apart from what the outer one keeps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Self, TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import PrivateAttr

from clients.personal_state import Kept
from clients.trainers.base import ClientRound, Trainer
from models.schema import NamedArrays

if TYPE_CHECKING:
    from models.beside.extended import Extension

_INNER = "inner/"

_T = TypeVar("_T")
Arrays = Mapping[str, npt.NDArray[np.generic]]


@dataclass
class Held:
    """What the inner half keeps for the next round; as before where it keeps nothing new."""

    arrays: Arrays = field(default_factory=dict)
    values: Mapping[str, object] = field(default_factory=dict)

    def keep(self, arrays: Arrays, values: Mapping[str, object]) -> None:
        """Take the place of `ClientRound.keep`."""
        self.arrays, self.values = arrays, values


class Around(Trainer):
    """Base of client halves that go around another one."""

    _inner: Trainer = PrivateAttr(default_factory=Trainer)

    @property
    def inner(self) -> Trainer:
        """The client half of the rule inside."""
        return self._inner

    def around(self, inner: Trainer) -> Self:
        """Go around a client half."""
        self._inner = inner
        return self

    def extension(self) -> Extension | None:
        """Return what the inner half puts beside the client's model."""
        return self.inner.extension()

    def model_of(self, work: ClientRound) -> NamedArrays:
        """Return what the inner half would use."""
        return self.inner.model_of(self.inside(work)[0])

    def inside(self, work: ClientRound) -> tuple[ClientRound, Held]:
        """Return the round as the inner half sees it, and what it will have kept."""
        held = Held()
        if work.kept is None:
            return replace(work, keep=held.keep), held
        held.keep(_under(work.kept.arrays), _under(work.kept.values))
        empty = not held.arrays and not held.values
        kept = None if empty else Kept(work.kept.round, held.arrays, held.values)
        return replace(work, kept=kept, keep=held.keep), held

    def keep(
        self, work: ClientRound, held: Held, arrays: Arrays, values: Mapping[str, object]
    ) -> None:
        """Keep the outer half's arrays and values, and what the inner one keeps."""
        inner = {f"{_INNER}{key}": array for key, array in held.arrays.items()}
        said = {f"{_INNER}{key}": value for key, value in held.values.items()}
        work.keep({**arrays, **inner}, {**values, **said})

    def own(self, work: ClientRound) -> Arrays:
        """Return what the outer half kept in an earlier round."""
        known = work.kept.arrays if work.kept is not None else {}
        return {key: array for key, array in known.items() if not key.startswith(_INNER)}


def _under(kept: Mapping[str, _T]) -> dict[str, _T]:
    return {k.removeprefix(_INNER): v for k, v in kept.items() if k.startswith(_INNER)}
