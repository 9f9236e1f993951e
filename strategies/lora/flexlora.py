"""FlexLoRA: Bai et al., "Federated Fine-tuning of Large Language Models under Heterogeneous Tasks
and Client Resources", NeurIPS 2024, https://arxiv.org/abs/2402.11505

The server forms the mean of the clients' products, of any rank, and cuts its singular value
decomposition anew for each client's rank r:

    D = sum_k p_k s_k B_k A_k = U S V^T;   B = U_r S_r / s,  A = V_r^T,   s = alpha / r

s is the receiving rank's scale. The decomposition comes from the stacked factors, never from a
square matrix where those are the smaller. The global adapter, of the largest rank, holds the first
singular triplets; a client's are the first of these. The head is averaged by examples.
"""

from __future__ import annotations

from typing import ClassVar

from models.lora.factors import require_products
from models.lora.pairs import Layout
from models.schema import NamedArrays
from strategies import base
from strategies.aggregation.lora.svd import truncated_svd
from strategies.lora.flora import Stack
from strategies.lora.ranked import RankedOptions, cut_to, rank_for
from strategies.rounds.context import Instruction, RoundContext, Update


class FlexLoRA(base.Strategy):
    """The exact mean product, cut to each client's rank."""

    about: ClassVar[str] = "SVD of the exact mean product, cut to each client's rank"
    mixes_ranks: ClassVar[bool] = True
    Options: ClassVar[type[base.Options]] = RankedOptions
    options: RankedOptions

    def initialise(self, arrays: NamedArrays) -> None:
        """Start from the first adapter."""
        require_products(arrays.schema)
        super().initialise(arrays)
        self._starts: dict[int, NamedArrays] = {}

    def instruct(self, client: str, context: RoundContext) -> Instruction:
        """Send the first triplets, as many as the client's rank."""
        rank = rank_for(client, self.arrays, context)
        if rank not in self._starts:
            self._starts[rank] = cut_to(self.arrays, rank, self.options.alpha)
        return Instruction(self._starts[rank])

    def counted(self, update: Update, context: RoundContext) -> tuple[NamedArrays, float] | None:
        """Return the adapter as it came."""
        return update.arrays, update.weight

    def begin(self, context: RoundContext) -> Stack:
        """Open an empty sum of products."""
        return Stack(self.arrays)

    def conclude(self, aggregation: Stack, context: RoundContext) -> None:
        """Decompose the mean product at the largest rank."""
        rest = aggregation.rest.result()
        if rest is None:
            return
        layout = Layout.of(self.arrays.schema)
        places = {place.layer: place for place in layout.places}
        factors = {
            layer: truncated_svd(delta, places[layer].rank).factors(places[layer].scale)
            for layer, delta in aggregation.products.deltas()
        }
        self.arrays = layout.assemble(factors, rest.astype(layout.rest.dtype))
        self._starts = {}

    def restore(self, state: base.State) -> None:
        """Take the adapter back."""
        super().restore(state)
        self._starts = {}
