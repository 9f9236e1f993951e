"""Ranks of the clients' own: what each is sent, for methods that can mix them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from models.lora.factors import rank_of, with_rank
from models.lora.resize import resized
from models.schema import NamedArrays
from strategies import base
from strategies.rounds.context import RoundContext


class RankedOptions(base.Options):
    """Options of methods that mix ranks."""

    alpha: Annotated[
        Literal["fixed", "proportional"],
        Field(description="with the rank, alpha stays, or alpha/rank does"),
    ] = "fixed"


def rank_for(client: str, arrays: NamedArrays, context: RoundContext) -> int:
    """Return the rank that a client can afford, at most the global adapter's."""
    largest = rank_of(arrays.schema)
    known = context.roster[client].rank if client in context.roster else None
    return largest if known is None else min(known, largest)


def cut_to(arrays: NamedArrays, rank: int, alpha: Literal["fixed", "proportional"]) -> NamedArrays:
    """Return the first `rank` rows of A and columns of B; the product of what is kept stays."""
    if rank == rank_of(arrays.schema):
        return arrays
    return resized(arrays, with_rank(arrays.schema, rank, alpha))
