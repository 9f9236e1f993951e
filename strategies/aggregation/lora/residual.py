"""FedEx-LoRA's residual (Singhal et al. 2025, https://arxiv.org/abs/2410.09432).

R = sum_k p_k s_k B_k A_k - s B A with the means A and B: what separate means lose, to be added to
the frozen base. With B_k restated for the scale s, R = s sum_k p_k (B_k - B)(A_k - A), a
covariance: nothing large cancels, one client gives zero, and the rank is at most the number of
clients times that of the means.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from models.lora.pairs import Layout, Pair
from models.schema import NamedArrays
from strategies.aggregation.lora.product import Delta, LayerSum, Product
from strategies.aggregation.lora.svd import truncated_svd


def residuals(
    updates: Sequence[tuple[NamedArrays, float]], mean: NamedArrays
) -> Iterator[tuple[str, Delta]]:
    """Give each layer and its residual, made one at a time.

    Parameters
    ----------
    updates : sequence of (NamedArrays, float)
        The clients' adapters and weights; weights need not sum to one.
    mean : NamedArrays
        What `FactorMean` made of just these with the ratio of scales in B; its rank is the largest.
        Its rounding to float32, some 1e-7 of the product, is not part of the residual.
    """
    layouts = {arrays.schema.hash: Layout.of(arrays.schema) for arrays, _ in updates}
    pairs = [
        (layouts[arrays.schema.hash].pairs(arrays), weight) for arrays, weight in updates if weight
    ]
    whole = sum(weight for _, weight in pairs)
    for i, middle in enumerate(Layout.of(mean.schema).pairs(mean)):
        gathered = LayerSum(middle.b.shape[0], middle.a.shape[1])
        for found, weight in pairs:
            gathered.add(_deviation(found[i], middle), weight)
        yield middle.layer, gathered.total(whole)


def truncated(found: Mapping[str, Delta], rank: int) -> dict[str, Delta]:
    """Return the best approximations of rank `rank` of all residuals: the inexact variant."""
    cut: dict[str, Delta] = {}
    for layer, residual in found.items():
        a, b = truncated_svd(residual, rank).factors(1.0)
        cut[layer] = Product(a, b)
    return cut


def _deviation(pair: Pair, middle: Pair) -> Pair:
    """Return a client's pair minus the means, zero-padded to their rank."""
    a, b = -middle.a.astype(np.float64), -middle.b.astype(np.float64)
    a[: pair.rank] += pair.a
    b[:, : pair.rank] += pair.b * (pair.scale / middle.scale)
    return Pair(pair.layer, a, b, middle.scale)
