"""FlexLoRA: Bai et al., "Federated Fine-tuning of Large Language Models under Heterogeneous Tasks
and Client Resources", NeurIPS 2024, https://arxiv.org/abs/2402.11505

The server forms the mean of the clients' products, of any rank, and cuts its singular value
decomposition anew for each client's rank r:

    D = sum_k p_k s_k B_k A_k = U S V^T;   B = U_r S_r / s,  A = V_r^T,   s = alpha / r

s is the receiving rank's scale. With ``split='symmetric'`` both factors carry the root of S_r / s:
the product is the same, the next round's training is not. The decomposition comes from the stacked
factors, never from a square matrix where those are the smaller. The global adapter, of the largest
rank, holds the first singular triplets; a client's are the first of these. The head is averaged by
examples.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from models.lora.factors import require_products
from models.lora.pairs import Layout
from models.schema import NamedArrays
from strategies import base
from strategies.aggregation.lora.svd import Split, truncated_svd
from strategies.lora.flora import Stack
from strategies.lora.ranked import Ranked, RankedOptions
from strategies.rounds.context import RoundContext


class FlexLoRAOptions(RankedOptions):
    """Options of `FlexLoRA`."""

    split: Annotated[
        Split, Field(description="the singular values go into B (left), or half into each factor")
    ] = "left"


class FlexLoRA(Ranked):
    """The exact mean product, cut to each client's rank."""

    about: ClassVar[str] = "SVD of the exact mean product, cut to each client's rank"
    travels: ClassVar[str] = "A and B of the client's rank"
    Options: ClassVar[type[base.Options]] = FlexLoRAOptions
    options: FlexLoRAOptions

    def initialise(self, arrays: NamedArrays) -> None:
        """Start from the first adapter."""
        require_products(arrays.schema)
        super().initialise(arrays)

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
            layer: truncated_svd(delta, places[layer].rank).factors(
                places[layer].scale, self.options.split
            )
            for layer, delta in aggregation.products.deltas()
        }
        self.arrays = layout.assemble(factors, rest.astype(layout.rest.dtype))
