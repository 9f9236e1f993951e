"""What of an update is compared when clients are clustered.

``adapter``: the update w_i - w, flattened. ``product``: the change of s B A in all layers, which
no two factorisations of one product tell apart; always sketched, since the products themselves are
as large as the base's layers. ``head``: the update of the head alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from models.errors import BouquetError
from models.lora.factors import require_products
from models.lora.pairs import Layout
from models.lora.resize import resized
from models.randomness import derive_generator
from models.schema import NamedArrays, Schema
from strategies import base
from strategies.aggregation.clusters.sketches import Fold, ProductFold
from strategies.rounds.context import Update

Float64 = npt.NDArray[np.float64]
_PRODUCT_SKETCH = 1024


class SketchOptions(base.Options):
    """How long the vectors are that are compared."""

    sketch: Annotated[
        int,
        Field(ge=0, description="numbers kept of an update; 0 = all (of products: 1,024)"),
    ] = 0


class FeatureOptions(SketchOptions):
    """Options of methods that compare updates."""

    feature: Annotated[
        Literal["adapter", "product", "head"], Field(description="what of an update is compared")
    ] = "adapter"


class Features:
    """Turns updates into vectors whose distances and angles are compared.

    Parameters
    ----------
    feature : {'adapter', 'product', 'head'}
    sketch : int
        Numbers kept; 0 = all.
    schema : Schema
        Of the model.
    seed : int
        Of the run; sketches of one seed can be compared.

    Raises
    ------
    BouquetError
        The adapter has no head, or no products.
    """

    def __init__(self, feature: str, sketch: int, schema: Schema, seed: int) -> None:
        self._kind = feature
        self._schema = schema
        self._part = schema
        self._fold: Fold | None = None
        if self._kind == "product":
            require_products(schema)
            self._product = ProductFold(
                Layout.of(schema),
                sketch or _PRODUCT_SKETCH,
                lambda layer: derive_generator(seed, "clusters", "sketch", layer),
            )
            return
        if self._kind == "head":
            self._part = schema.only([key for key in schema.slices if schema.in_head(key)])
        if not self._part.arrays:
            raise BouquetError(
                "feature = 'head': this adapter has no head that is trained; "
                "take feature = 'adapter'"
            )
        if 0 < sketch < self._part.size:
            generator = derive_generator(seed, "clusters", "sketch")
            self._fold = Fold(self._part.size, sketch, generator)

    def of(self, update: NamedArrays, start: NamedArrays) -> Float64:
        """Return the vector of an update.

        Parameters
        ----------
        update : NamedArrays
            What the client returned: of the model's schema, of another rank, or a part of it.
        start : NamedArrays
            The model that it started from.
        """
        if self._kind == "product":
            if update.schema.slices.keys() < start.schema.slices.keys():
                update = start.overlaid(update)
            return self._product(update) - self._product(resized(start, update.schema))
        new, old = self._whole(update, start), start
        if self._part is not self._schema:
            new, old = new.only(self._part), old.only(self._part)
        if self._fold is not None:
            return self._fold(new.vector, old.vector)
        return new.vector.astype(np.float64) - old.vector

    def of_all(
        self, updates: Mapping[str, Update], start: Callable[[str], NamedArrays]
    ) -> dict[str, Float64]:
        """Return the vectors of updates, by client; `start` gives what each came from."""
        return {client: self.of(u.arrays, start(client)) for client, u in updates.items()}

    def _whole(self, update: NamedArrays, start: NamedArrays) -> NamedArrays:
        """Return an update with what the client did not train, or not at its rank, as it was."""
        if update.schema.hash == self._schema.hash:
            return update
        if update.schema.slices.keys() < start.schema.slices.keys():
            return start.overlaid(update)
        sent = resized(start, update.schema)
        back = resized(update, self._schema).vector - resized(sent, self._schema).vector
        return start.replace(start.vector + back)
