"""Ranks that clients can afford, where nodes do not say: the setting ``rank-args``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from models.adapters import option_errors
from models.randomness import derive_generator

Rank = Annotated[int, Field(ge=1, le=4096)]


class RankOptions(BaseModel):
    """Options in ``rank-args``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ranks: Annotated[tuple[Rank, ...], Field(min_length=1, description="the ranks to give out")]
    order: Annotated[
        Literal["cyclic", "random"],
        Field(description="to clients in turn, or drawn for each from the run's seed"),
    ] = "cyclic"
    shares: Annotated[
        tuple[Annotated[float, Field(gt=0)], ...],
        Field(description="with order='random', how often each rank comes; empty = equally"),
    ] = ()

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.shares and (self.order != "random" or len(self.shares) != len(self.ranks)):
            raise ValueError("shares go with order='random' and give one number for each rank")
        return self


def rank_errors(arguments: Mapping[str, object], largest: object) -> list[str]:
    """Return one line for each wrong entry of ``rank-args``.

    Parameters
    ----------
    arguments : mapping
    largest : object
        The adapter's own rank, where it has one.
    """
    if not arguments:
        return []
    errors = option_errors(RankOptions, arguments)
    if errors:
        return errors
    if not isinstance(largest, int):
        return ["ranks need adapter='lora'"]
    above = [r for r in RankOptions.model_validate(dict(arguments)).ranks if r > largest]
    return [f"rank {above[0]} is above the adapter's own, {largest}: raise it"] if above else []


def assigned_ranks(
    arguments: Mapping[str, object], clients: Sequence[str], seed: int
) -> dict[str, int]:
    """Give each client a rank; none without arguments.

    Parameters
    ----------
    arguments : mapping
        Checked by `rank_errors`.
    clients : sequence of str
        In roster order.
    seed : int
        The run's.
    """
    if not arguments:
        return {}
    options = RankOptions.model_validate(dict(arguments))
    if options.order == "cyclic":
        return {c: options.ranks[i % len(options.ranks)] for i, c in enumerate(clients)}
    total = sum(options.shares)
    shares = [share / total for share in options.shares] or None
    return {
        client: int(derive_generator(seed, client, "rank").choice(options.ranks, p=shares))
        for client in clients
    }
