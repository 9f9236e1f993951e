"""FairLoRA: Li et al., "FairFedMed: Benchmarking Group Fairness in Federated Medical Imaging with
FairLoRA", IEEE TMI 2025, https://arxiv.org/abs/2508.00873

The adapter is U diag(S_g) V, with singular vectors U, V for all groups and singular values S_g for
each group g (`models.fairlora`). Client k of the cohort has n_k examples, n_{k,g} of group g:

    U = sum_k n_k U_k / sum_k n_k,   V and the head likewise
    S_g = sum_k n_{k,g} S_{k,g} / sum_k n_{k,g}

A group that nobody in the cohort has keeps its S_g. Options of the paper's code: `shared_half_s`
averages the first half of all S_g over the groups, and with `ema` b the model stiffens as round t
of T, counted from 0, goes by,

    w_{t+1} = (1 - b t/T) w + b t/T w_t

Means of factors are not the mean of their products. With `mean='product'` U, V and S are those
whose products come closest to sum_k n_{k,g}/n_g U_k diag(S_{k,g}) V_k over all groups together: a
trilinear least-squares problem on the stacked factors, solved in turns from the means of factors,
so never worse than these.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from models.errors import ConfigurationError
from models.messages import COUNT_GROUPS
from models.schema import NamedArrays
from strategies import base
from strategies.aggregation.fair.factors import (
    FactorMeans,
    Floats,
    assembled,
    blended,
    group_weights,
    key_of,
    layers_of,
    with_shared_half,
)
from strategies.aggregation.fair.products import fitted, misfit, stacked
from strategies.rounds.context import Instruction, RoundContext, Update


class FairLoRAOptions(base.Options):
    """Options of `FairLoRA`."""

    shared_half_s: Annotated[
        bool, Field(description="average the first half of the singular values over the groups")
    ] = False
    ema: Annotated[
        float, Field(ge=0, lt=1, description="b: the old model's share rises to b; the code's .999")
    ] = 0.0
    mean: Annotated[
        Literal["factors", "product"],
        Field(description="means of U, S and V each, or the factors closest to the mean products"),
    ] = "factors"


class Collected:
    """One round's sums; for the mean of products also the factors themselves."""

    def __init__(self, arrays: NamedArrays, keep: bool) -> None:
        self.means = FactorMeans(arrays.schema)
        self.parts: list[tuple[NamedArrays, Floats]] = []
        self._keep = keep

    def add(self, update: Update) -> None:
        """Add n_k U_k, n_k V_k and n_{k,g} S_{k,g}."""
        counts = update.notes.get("group_examples")
        by_group = group_weights(counts, self.means.groups, update.num_examples, update.weight)
        self.means.add(update.arrays, update.weight, by_group)
        if self._keep and update.weight:
            self.parts.append((update.arrays, by_group))

    def merge(self, other: Self) -> None:
        """Add another node's sums."""
        self.means.merge(other.means)
        self.parts += other.parts


class FairLoRA(base.Strategy):
    """Singular vectors shared by all groups, singular values averaged within each."""

    about: ClassVar[str] = "U and V averaged by examples, each group's S by the group's examples"
    travels: ClassVar[str] = "U, V, S of all groups"
    needs_groups: ClassVar[bool] = True
    Options: ClassVar[type[base.Options]] = FairLoRAOptions
    options: FairLoRAOptions

    @property
    def is_linear(self) -> bool:
        """Sums are; the mean of products needs all factors at once."""
        return self.options.mean == "factors"

    def initialise(self, arrays: NamedArrays) -> None:
        """Start from the first adapter.

        Raises
        ------
        ConfigurationError
            It has no U, S and V, or where only some of them are shared, `mean` needs all.
        """
        layers = layers_of(arrays.schema)
        parts = any(".fairlora_" in key for key in arrays)
        if not parts or (self.options.mean == "product" and not layers):
            raise ConfigurationError(
                f"strategy: {self.describe()} needs U, S and V of adapter='fairlora', and the "
                f"adapter is '{arrays.schema.facts.get('kind', 'unknown')}'"
            )
        super().initialise(arrays)
        self._misfit: dict[str, float] = {}

    def instruct(self, client: str, context: RoundContext) -> Instruction:
        """Send the adapter, and ask for the number of examples of each group."""
        return super().instruct(client, context).also({COUNT_GROUPS: True})

    def begin(self, context: RoundContext) -> Collected:
        """Open empty sums."""
        return Collected(self.arrays, keep=self.options.mean == "product")

    def conclude(self, aggregation: Collected, context: RoundContext) -> None:
        """Take the means, share half of S, and hold on to the old model by b t/T."""
        new = aggregation.means.result(self.arrays)
        if new is None:
            return
        if self.options.mean == "product":
            new = self._closest(new, aggregation)
        if self.options.shared_half_s:
            new = with_shared_half(new)
        share = self.options.ema * (context.round - 1) / max(1, context.num_rounds)
        self.arrays = blended(new, self.arrays, share)

    def _closest(self, means: NamedArrays, aggregation: Collected) -> NamedArrays:
        """Return the factors closest to the mean products of the groups that are there."""
        there = np.flatnonzero(aggregation.means.weights > 0)
        self._misfit = {}
        if len(there) == 0:
            return means
        weights = aggregation.means.weights[there]
        parts = [(arrays, by_group[there]) for arrays, by_group in aggregation.parts]
        found = {}
        for layer in layers_of(means.schema):
            u, s, v = (means[key_of(layer, x)].astype(np.float64) for x in "USV")
            target = stacked(parts, layer, weights, there)
            u, s[there], v = fitted(target, (u, s[there], v))
            self._misfit[layer] = misfit(target, (u, s[there], v))
            found[layer] = u, s, v
        return assembled(means, found)

    def figures(self) -> Mapping[str, float]:
        """Return how far each layer's products are from the exact means, where that was sought."""
        return {f"misfit/{layer}": value for layer, value in self._misfit.items()}
