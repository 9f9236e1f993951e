"""Base of methods that mix ranks: each client is sent as much of the adapter as it can afford."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from models.lora.factors import rank_of, with_rank
from models.lora.resize import resized
from models.schema import NamedArrays
from strategies import base
from strategies.rounds.context import Instruction, RoundContext, Update


class RankedOptions(base.Options):
    """Options of methods that mix ranks."""

    alpha: Annotated[
        Literal["fixed", "proportional"],
        Field(description="with the rank, alpha stays, or alpha/rank does"),
    ] = "fixed"


class Ranked(base.Strategy):
    """Sends the first rows of A and columns of B, as many as the client's rank."""

    mixes_ranks: ClassVar[bool] = True
    Options: ClassVar[type[base.Options]] = RankedOptions
    options: RankedOptions
    # What of which adapter was cut, by rank: clients of one rank share one start.
    _cut: tuple[NamedArrays, dict[int, NamedArrays]] | None = None

    def rank(self, client: str, context: RoundContext) -> int:
        """Return the rank that a client can afford, at most the global adapter's."""
        largest = rank_of(self.arrays.schema)
        known = context.roster[client].rank if client in context.roster else None
        return largest if known is None else min(known, largest)

    def instruct(self, client: str, context: RoundContext) -> Instruction:
        """Send the adapter at the client's rank; the product of what is kept stays."""
        if self._cut is None or self._cut[0] is not self.arrays:
            self._cut = (self.arrays, {rank_of(self.arrays.schema): self.arrays})
        starts, rank = self._cut[1], self.rank(client, context)
        if rank not in starts:
            smaller = with_rank(self.arrays.schema, rank, self.options.alpha)
            starts[rank] = resized(self.arrays, smaller)
        return Instruction(starts[rank], base_version=self.base_version)

    def counted(self, update: Update, context: RoundContext) -> tuple[NamedArrays, float] | None:
        """Return the adapter as it came, and n_k."""
        return update.arrays, update.weight
