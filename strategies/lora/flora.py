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
from strategies.aggregation.lora.product import ProductMean
from strategies.aggregation.mean import WeightedMean
from strategies.lora.merging import Merging
from strategies.lora.ranked import Ranked
from strategies.rounds.context import RoundContext, Update


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


class FLoRA(Ranked, Merging):
    """Stacks adapters, merges them into the base, starts afresh."""

    about: ClassVar[str] = "stacked adapters merged into the base, a fresh start each round: exact"
    travels: ClassVar[str] = "A and B; each node gets the stack"

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
