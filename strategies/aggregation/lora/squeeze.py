"""LoRA-Squeeze (Vulic et al. 2026, https://arxiv.org/abs/2602.10993): learn wide, then cut.

Post-Squeeze cuts a trained adapter to its best approximation of a lower rank; In-Squeeze does so
in steps during training. The paper's randomised SVD of the product is here the exact one: an
adapter's own factors are small enough.
"""

from __future__ import annotations

from models.errors import ModelError
from models.lora.pairs import Layout
from models.schema import NamedArrays, Schema
from strategies.aggregation.lora.product import Delta, product_of
from strategies.aggregation.lora.svd import Split, truncated_svd


def squeezed(arrays: NamedArrays, schema: Schema, split: Split = "symmetric") -> NamedArrays:
    """Return the best approximation of an adapter at the ranks and scales of another schema.

    Parameters
    ----------
    arrays : NamedArrays
    schema : Schema
        What `models.lora.factors.with_rank` gives.
    split : {"symmetric", "left"}
        Whether A and B share the singular values, or B has them all.

    Raises
    ------
    ModelError
        The schema has other layers.
    """
    pairs = Layout.of(arrays.schema).pairs(arrays)
    products: dict[str, Delta] = {pair.layer: product_of(pair) for pair in pairs}
    target = Layout.of(schema)
    factors = {}
    for place in target.places:
        if place.layer not in products:
            raise ModelError(f"the adapter has no layer '{place.layer}' to squeeze")
        made = truncated_svd(products[place.layer], place.rank)
        factors[place.layer] = made.factors(place.scale, split)
    return target.assemble(factors, arrays.only(arrays.schema.only(target.rest.slices)).vector)


def annealed_rank(source: int, target: int, elapsed: float) -> int:
    """Return the rank after a share `elapsed` of the training, falling by halves.

    The ranks source, source/2, source/4, ..., target (rounded down) last equally long: 16 to 4 is
    16, 8 and 4, a third of the training each.

    Raises
    ------
    ModelError
        A target that is not within 1 and the source, or a share that is not within 0 and 1.
    """
    if not 1 <= target <= source:
        raise ModelError(f"rank {source} cannot be annealed to {target}: use 1 to {source}")
    if not 0 <= elapsed <= 1:
        raise ModelError(f"a share of {elapsed} of the training: it is within 0 and 1")
    ranks = [source]
    while ranks[-1] // 2 > target:
        ranks.append(ranks[-1] // 2)
    if target < source:
        ranks.append(target)
    return ranks[min(int(elapsed * len(ranks)), len(ranks) - 1)]
