"""Adapters for the tests of LoRA aggregation, and their dense products."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from hypothesis import strategies as st

from models.lora.pairs import Layout
from models.schema import ArraySpec, NamedArrays, Schema

KEYS = ("layers.0.q_proj", "layers.1.v_proj")


def schema_of(
    rank: int,
    sizes: Sequence[tuple[int, int]] = ((5, 4), (6, 7)),
    alpha: float = 16.0,
    head: int = 3,
    rslora: bool = False,
) -> Schema:
    """Return the schema of layers of sizes (d_out, d_in) and a head."""
    specs = [ArraySpec("classifier.weight", (head,))] if head else []
    for key, (d_out, d_in) in zip(KEYS, sizes, strict=False):
        specs.append(ArraySpec(f"{key}.lora_A.weight", (rank, d_in)))
        specs.append(ArraySpec(f"{key}.lora_B.weight", (d_out, rank)))
    scaling = alpha / (rank**0.5 if rslora else rank)
    facts = {"rank": rank, "alpha": alpha, "rslora": rslora, "scaling": scaling}
    return Schema(tuple(sorted(specs, key=lambda spec: spec.key)), facts)


def adapter(schema: Schema, seed: int) -> NamedArrays:
    numbers = np.random.default_rng(seed).normal(size=schema.size)
    return NamedArrays(schema, numbers.astype(np.float32))


def dense_deltas(arrays: NamedArrays) -> Mapping[str, np.ndarray]:
    """Return s B A of each layer, in float64."""
    return {
        pair.layer: pair.scale * pair.b.astype(np.float64) @ pair.a.astype(np.float64)
        for pair in Layout.of(arrays.schema).pairs(arrays)
    }


def dense_mean(updates: Sequence[tuple[NamedArrays, float]]) -> Mapping[str, np.ndarray]:
    """Return sum_k w_k s_k B_k A_k / sum_k w_k of each layer."""
    found = [(dense_deltas(arrays), weight) for arrays, weight in updates]
    whole = sum(weight for _, weight in found)
    return {
        layer: sum(deltas[layer] * weight for deltas, weight in found) / whole
        for layer in found[0][0]
    }


def rank_one_pair() -> list[NamedArrays]:
    """Return the common case: A_1 = [1 2], B_1 = [1; 0], A_2 = [3 0], B_2 = [0; 2], scale 1."""
    return [
        NamedArrays.of(
            {"l.lora_A.weight": np.float32([a]), "l.lora_B.weight": np.float32([b]).T},
            {"rank": 1, "alpha": 1.0, "scaling": 1.0},
        )
        for a, b in (((1, 2), (1, 0)), ((3, 0), (0, 2)))
    ]


@st.composite
def cohorts(draw: st.DrawFn) -> list[tuple[NamedArrays, float]]:
    """Adapters of mixed ranks, scales and weights over the same layers."""
    sizes = draw(st.sampled_from([((5, 4), (6, 7)), ((3, 8), (8, 3)), ((12, 12), (40, 9))]))
    return [
        (
            adapter(
                schema_of(
                    draw(st.integers(1, 4)),
                    sizes,
                    alpha=draw(st.sampled_from([1.0, 8.0, 16.0])),
                    rslora=draw(st.booleans()),
                ),
                draw(st.integers(0, 1000)),
            ),
            draw(st.sampled_from([0.25, 1.0, 7.0, 120.0])),
        )
        for _ in range(draw(st.integers(1, 6)))
    ]
