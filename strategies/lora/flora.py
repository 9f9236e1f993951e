"""FLoRA: Wang et al., "FLoRA: Federated Fine-Tuning Large Language Models with Heterogeneous
Low-Rank Adaptations", NeurIPS 2024, https://arxiv.org/abs/2409.05976

Adapters of any rank are stacked, which gives their mean product exactly; it is merged into the
base, and everybody starts from a fresh adapter:

    A_s = [p_1 s_1 A_1; ...; p_K s_K A_K],  B_s = [B_1 ... B_K],  s_k = alpha_k / r_k
    B_s A_s = sum_k p_k s_k B_k A_k,        W <- W + B_s A_s,     A ~ its start,  B = 0

Each client's own scale is inside the stack, so ranks and scales may differ and anybody may be
absent. The fresh A comes from (seed, round). The head is averaged by examples.
"""

from __future__ import annotations

import math
from typing import ClassVar, Self

from models.lora.factors import role_of, with_roles
from models.schema import NamedArrays
from strategies import base
from strategies.aggregation.lora.product import ProductMean
from strategies.aggregation.mean import WeightedMean
from strategies.lora.merging import Merging
from strategies.lora.ranked import RankedOptions, cut_to, rank_for
from strategies.rounds.context import Instruction, RoundContext, Update


class Stack:
    """One round's stacked adapters, and the mean of what is no factor."""

    def __init__(self, arrays: NamedArrays) -> None:
        self.products = ProductMean(arrays.schema)
        self.rest_schema = with_roles(arrays.schema, ("rest",))
        self.rest = WeightedMean(self.rest_schema.size)

    def add(self, update: Update) -> None:
        """Stack n_k s_k A_k and B_k; the division by sum_k n_k comes last."""
        self.products.add(update.arrays, update.weight)
        rest = update.arrays.only(with_roles(update.arrays.schema, ("rest",)))
        self.rest.add(rest.vector, update.weight)

    def merge(self, other: Self) -> None:
        """Add another node's stack."""
        self.products.merge(other.products)
        self.rest.merge(other.rest)


class FLoRA(Merging):
    """Stacks adapters, merges them into the base, starts afresh."""

    about: ClassVar[str] = "stacked adapters merged into the base, a fresh start each round: exact"
    mixes_ranks: ClassVar[bool] = True
    Options: ClassVar[type[base.Options]] = RankedOptions
    options: RankedOptions

    def instruct(self, client: str, context: RoundContext) -> Instruction:
        """Send a fresh adapter of the client's rank, over this version of the base."""
        rank = rank_for(client, self.arrays, context)
        start = self._starts.get(rank)
        if start is None:
            start = self._starts[rank] = cut_to(self.arrays, rank, self.options.alpha)
        return Instruction(start, base_version=self.base_version)

    def initialise(self, arrays: NamedArrays) -> None:
        """Start from the first adapter, in which B is zero."""
        super().initialise(arrays)
        # By rank, so that clients of one rank share one start.
        self._starts: dict[int, NamedArrays] = {}

    def counted(self, update: Update, context: RoundContext) -> tuple[NamedArrays, float] | None:
        """Return the adapter as it came."""
        return update.arrays, update.weight

    def begin(self, context: RoundContext) -> Stack:
        """Open an empty stack."""
        return Stack(self.arrays)

    def conclude(self, aggregation: Stack, context: RoundContext) -> None:
        """Merge the stack into the base and start afresh."""
        rest = aggregation.rest.result()
        if rest is None:
            return
        self.merge_into_base(aggregation.products.deltas())
        fresh = self._fresh(context)
        schema = aggregation.rest_schema
        self.arrays = fresh.overlaid(NamedArrays(schema, rest.astype(schema.dtype)))
        self._starts = {}

    def _fresh(self, context: RoundContext) -> NamedArrays:
        """Return A as PEFT draws it, uniform within 1/sqrt(d_in), and B = 0."""
        fresh = NamedArrays(self.arrays.schema, self.arrays.vector.copy())
        generator = context.generator("fresh adapter")
        for key in fresh:
            if role_of(key) == "A":
                bound = 1 / math.sqrt(math.prod(fresh[key].shape[1:]))
                fresh[key][...] = generator.uniform(-bound, bound, fresh[key].shape)
            elif role_of(key) == "B":
                fresh[key][...] = 0
        return fresh

    def restore(self, state: base.State) -> None:
        """Take adapter and version back."""
        super().restore(state)
        self._starts = {}
