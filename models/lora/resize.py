"""Adapters of another rank: truncation and zero-padding that keep products.

Rank r' < r keeps the first r' rows of A and columns of B (HetLoRA's truncation, Cho et al. 2024,
https://arxiv.org/abs/2401.06432); r' > r pads with zeros. As s = alpha / r changes with the rank,
B is restated for the receiving scale: s' B' A' is the product of what was kept, at its old size.
"""

from __future__ import annotations

import numpy as np

from models.errors import ModelError
from models.lora.pairs import Layout, Matrix
from models.schema import NamedArrays, Schema


def resized(arrays: NamedArrays, schema: Schema) -> NamedArrays:
    """Cut or zero-pad every pair to the ranks and scales of another schema of the same layers.

    Parameters
    ----------
    arrays : NamedArrays
    schema : Schema
        As `models.lora.factors.with_rank` gives it.

    Returns
    -------
    NamedArrays
        Of `schema`; the rest is copied. The same object where the schemas are equal.

    Raises
    ------
    ModelError
        Other layers, or layers of other sizes.
    """
    if arrays.schema.hash == schema.hash:
        return arrays
    source, target = Layout.of(arrays.schema), Layout.of(schema)
    factors: dict[str, tuple[Matrix, Matrix]] = {}
    for pair, place in zip(source.pairs(arrays), target.places, strict=False):
        if (pair.layer, pair.a.shape[1], pair.b.shape[0]) != (place.layer, place.d_in, place.d_out):
            raise ModelError(
                f"layer '{pair.layer}' of {pair.b.shape[0]} x {pair.a.shape[1]} does not fit "
                f"'{place.layer}' of {place.d_out} x {place.d_in}"
            )
        kept = min(pair.rank, place.rank)
        a = np.zeros((place.rank, place.d_in), dtype=pair.a.dtype)
        b = np.zeros((place.d_out, place.rank), dtype=pair.b.dtype)
        a[:kept] = pair.a[:kept]
        b[:, :kept] = pair.b[:, :kept] * (pair.scale / place.scale)
        factors[pair.layer] = (a, b)
    if len(source.places) != len(target.places) or source.rest.arrays != target.rest.arrays:
        difference = "; ".join(schema.differences(arrays.schema))
        raise ModelError(f"an adapter of other arrays cannot be resized: {difference}")
    return target.assemble(factors, arrays.only(source.rest).vector)
