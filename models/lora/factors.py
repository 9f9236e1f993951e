"""LoRA's factors in a schema: which array is A, which is B, and the same adapter at another rank.

An adapted layer adds scaling * B A to its weight, A of shape (rank, in), B of shape (out, rank).
Roles come from the keys that PEFT gives, never from shapes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal

from models.errors import BouquetError
from models.lora.pairs import letter_of, scaling_of
from models.schema import ArraySpec, Fact, Schema

Role = Literal["A", "B", "rest"]


def role_of(key: str) -> Role:
    """Return what an array is: a factor A, a factor B, or something else (head, bias)."""
    return letter_of(key) or "rest"


def with_roles(schema: Schema, roles: Collection[str]) -> Schema:
    """Return the part of a schema whose arrays have one of these roles."""
    return schema.only([key for key in schema.slices if role_of(key) in roles])


def rank_of(schema: Schema) -> int:
    """Return the rank of an adapter.

    Raises
    ------
    BouquetError
        It has no factors.
    """
    rank = schema.facts.get("rank")
    if not isinstance(rank, int) or not any(role_of(key) != "rest" for key in schema.slices):
        raise BouquetError(
            f"this adapter (kind '{schema.facts.get('kind', 'unknown')}') has no factors A and B; "
            "use adapter='lora'"
        )
    return rank


def require_products(schema: Schema) -> None:
    """Refuse adapters whose layers do not simply add scaling * B A.

    Raises
    ------
    BouquetError
        No factors, or DoRA, which also rescales what it adds to.
    """
    rank_of(schema)
    if schema.facts.get("dora"):
        raise BouquetError(
            "this method works on the products B A, and DoRA adds something else to the base; "
            "leave out adapter-args='dora=true'"
        )


def _rank_axis(key: str) -> int:
    # PEFT keeps an embedding's factors the same way round: A (rank, in), B (out, rank).
    return 0 if role_of(key) == "A" else 1


def with_rank(
    schema: Schema, rank: int, alpha: Literal["fixed", "proportional"] = "fixed"
) -> Schema:
    """Return the schema of the same adapter at another rank.

    Parameters
    ----------
    schema : Schema
        Of a LoRA adapter, or of a part of one.
    rank : int
        At least 1.
    alpha : {"fixed", "proportional"}
        Alpha stays, so that the scaling falls with the rank; or the scaling stays.

    Raises
    ------
    BouquetError
        It has no factors, or the rank is below 1.
    """
    old = rank_of(schema)
    if rank < 1:
        raise BouquetError(f"an adapter of rank {rank}: the rank is at least 1")
    if rank == old:
        return schema
    arrays = []
    for spec in schema.arrays:
        shape = list(spec.shape)
        if role_of(spec.key) != "rest":
            shape[_rank_axis(spec.key)] = rank
        arrays.append(ArraySpec(spec.key, tuple(shape), spec.dtype))
    facts = {**schema.facts, "rank": rank}
    if alpha == "proportional":
        if "alpha" in facts:
            facts["alpha"] = float(facts["alpha"]) * _by_rule(facts, rank / old)
    elif "alpha" in facts:
        # As the adapter kind computes it, so that both schemas have one name.
        facts["scaling"] = scaling_of(facts, rank)
    else:
        facts["scaling"] = float(facts["scaling"]) * _by_rule(facts, old / rank)
    return Schema(tuple(arrays), facts)


def _by_rule(facts: Mapping[str, Fact], ratio: float) -> float:
    """Return what ranks count as in the scaling: as they are, or with rsLoRA their root."""
    return ratio**0.5 if facts.get("rslora") else ratio
