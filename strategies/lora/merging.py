"""Base of methods that merge into the frozen base what their adapter cannot hold.

The server writes each round's change as a new version of the base (`models.lora.base_change`);
messages name the version, and nodes are sent the changes that they lack.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

import numpy as np

from models.lora.base_change import BaseChanges, LayerChange, encoded
from models.lora.factors import require_products
from models.schema import NamedArrays
from strategies import base
from strategies.aggregation.lora.product import Delta, Product


class Merging(base.Strategy):
    """Keeps the versions of the base."""

    clusterable: ClassVar[bool] = False
    needs_fresh: ClassVar[str] = "each round changes the frozen base under the adapter"
    _folder: Path | None = None

    def keep_in(self, folder: Path) -> None:
        """Keep the changes of the base under this folder."""
        self._folder = folder / "changes"

    def initialise(self, arrays: NamedArrays) -> None:
        """Start from the base as it was loaded."""
        require_products(arrays.schema)
        super().initialise(arrays)
        if self._folder is None:
            self._temporary = TemporaryDirectory(prefix="bouquet-")
            self._folder = Path(self._temporary.name)
        self._changes = BaseChanges(self._folder)
        self._version = 0
        self._merged: Mapping[str, Delta] = {}

    @property
    def changes(self) -> BaseChanges:
        """All changes so far."""
        return self._changes

    @property
    def base_version(self) -> int:
        """How many changes there were."""
        return self._version

    @property
    def merged(self) -> Mapping[str, Delta]:
        """What the last round merged, by layer."""
        return self._merged

    def merge_into_base(self, deltas: Iterable[tuple[str, Delta]]) -> None:
        """Make a new version of the base: each layer's weight changes by its delta."""
        self._merged = dict(deltas)
        self._version += 1
        change = {layer: _stored(delta) for layer, delta in self._merged.items()}
        self._changes.write(self._version, encoded(change))

    def state(self) -> base.State:
        """Return the adapter and the version; the changes are on the disk."""
        return base.State(values={"version": self._version}) | super().state()

    def restore(self, state: base.State) -> None:
        """Go back to a version."""
        super().restore(state)
        self._version = int(state.values["version"] or 0)
        self._changes.forget_after(self._version)


def _stored(delta: Delta) -> LayerChange:
    if isinstance(delta, Product):
        return delta.b.astype(np.float32), delta.a.astype(np.float32)
    return delta.astype(np.float32)
