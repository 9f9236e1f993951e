"""One ordinary LoRA adapter for an adapter and the changes of the base beneath it.

What a method merged into the base is added to the factors, so that PEFT alone, over the base as it
is published, gives what the run's model gives: [A; A_1; ...] and [B, B_1/s, ...], or, where that
would be larger than the weight itself, the identity and the whole change.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from models.lora.base_change import BaseChanges, matrix
from models.lora.factors import role_of
from models.lora.pairs import Layout
from models.schema import ArraySpec, NamedArrays, Schema

Dense = npt.NDArray[np.float32]


def with_base_changes(arrays: NamedArrays, changes: BaseChanges, version: int) -> NamedArrays:
    """Return an adapter over the unchanged base, of a rank that suffices.

    Parameters
    ----------
    arrays : NamedArrays
        The adapter over the base at `version`.
    changes : BaseChanges
    version : int

    Returns
    -------
    NamedArrays
        Of the same keys; its facts say rank, alpha and scaling.
    """
    parts: dict[str, list[tuple[Dense, Dense]]] = {}
    whole: dict[str, Dense] = {}
    for change in changes.up_to(version):
        for layer, part in change.items():
            if isinstance(part, tuple):
                parts.setdefault(layer, []).append(part)
            else:
                whole[layer] = whole[layer] + part if layer in whole else part
    layout = Layout.of(arrays.schema)
    scaling = layout.places[0].scale
    made: dict[str, npt.NDArray[np.floating]] = {key: arrays[key] for key in layout.rest.slices}
    for place, pair in zip(layout.places, layout.pairs(arrays), strict=True):
        products = [(pair.b * scaling, pair.a), *parts.get(place.layer, [])]
        made[place.b_key], made[place.a_key] = _joined(products, whole.get(place.layer), scaling)
    rank = max(array.shape[0] for key, array in made.items() if role_of(key) == "A")
    padded = {key: _padded(key, array, rank) for key, array in made.items()}
    facts = {**arrays.schema.facts, "rank": rank, "alpha": scaling * rank, "rslora": False}
    dtypes = {spec.key: spec.dtype for spec in arrays.schema.arrays}
    specs = (ArraySpec(key, padded[key].shape, dtypes[key]) for key in sorted(padded))
    result = NamedArrays.of(padded)
    return NamedArrays(Schema(tuple(specs), facts), result.vector)


def _joined(
    pairs: list[tuple[Dense, Dense]], whole: Dense | None, scaling: float
) -> tuple[Dense, Dense]:
    """Return B and A such that scaling * B A is the sum of the products and the whole matrix."""
    d_out, d_in = pairs[0][0].shape[0], int(np.prod(pairs[0][1].shape[1:]))
    pairs = [(b, a.reshape(a.shape[0], -1)) for b, a in pairs]
    if whole is None and sum(a.shape[0] for _, a in pairs) < min(d_out, d_in):
        b = np.concatenate([b / scaling for b, _ in pairs], axis=1)
        return b, np.concatenate([a for _, a in pairs])
    total = sum((matrix(pair) for pair in pairs), np.zeros((d_out, d_in), np.float32))
    total = (total if whole is None else total + whole) / scaling
    if d_in <= d_out:
        return total, np.eye(d_in, dtype=np.float32)
    return np.eye(d_out, dtype=np.float32), total


def _padded(key: str, array: npt.NDArray[np.floating], rank: int) -> npt.NDArray[np.floating]:
    if role_of(key) == "rest":
        return array
    missing = rank - array.shape[0 if role_of(key) == "A" else 1]
    widths = ((0, missing), (0, 0)) if role_of(key) == "A" else ((0, 0), (0, missing))
    return np.pad(array, widths)


def peft_settings(facts: Mapping[str, object]) -> dict[str, object]:
    """Return what such an adapter changes in PEFT's configuration."""
    return {"r": facts["rank"], "lora_alpha": facts["alpha"], "use_rslora": False}
