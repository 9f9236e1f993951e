"""FedEx-LoRA: Singhal et al., "FedEx-LoRA: Exact Aggregation for Federated and Efficient
Fine-Tuning of Foundation Models", ACL 2025, https://arxiv.org/abs/2410.09432

Separate means, and what they lose is added to the frozen base everywhere:

    A = mean_k A_k,  B = mean_k B_k,  R = mean_k(B_k A_k) - B A,  W0 <- W0 + s R

The residual travels as factors, of rank K r at most. With ``rank`` above 0 only its best
approximation of that rank does (the paper's inexact variant). The paper's means are unweighted;
with ``weights='examples'`` the same p_k stands in all three terms.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field

from models.schema import NamedArrays
from strategies import base
from strategies.aggregation.lora.means import FactorMean
from strategies.aggregation.lora.residual import residuals, truncated
from strategies.lora.merging import Merging
from strategies.rounds.context import RoundContext, Update


class FedExLoRAOptions(base.Options):
    """Options of `FedExLoRA`."""

    rank: Annotated[int, Field(ge=0, description="rank of the residual; 0 = exact")] = 0
    weights: Annotated[
        Literal["uniform", "examples"], Field(description="clients alike, or by their examples")
    ] = "uniform"


class Adapters:
    """One round's adapters: the residual needs the means first."""

    def __init__(self, arrays: NamedArrays, weight: Callable[[Update], float]) -> None:
        self._weight = weight
        self.mean = FactorMean(arrays.schema)
        self.updates: list[tuple[NamedArrays, float]] = []

    def add(self, update: Update) -> None:
        """Keep one client's adapter."""
        weight = self._weight(update)
        self.mean.add(update.arrays, weight)
        self.updates.append((update.arrays, weight))

    def merge(self, other: Self) -> None:
        """Add another node's adapters."""
        self.mean.merge(other.mean)
        self.updates += other.updates


class FedExLoRA(Merging):
    """Separate means, and the exact residual in the base."""

    about: ClassVar[str] = "separate means, and the residual to the exact mean in the base: exact"
    travels: ClassVar[str] = "A and B; each node gets the residual as factors"
    linear: ClassVar[bool] = False
    Options: ClassVar[type[base.Options]] = FedExLoRAOptions
    options: FedExLoRAOptions

    def counted(self, update: Update, context: RoundContext) -> tuple[NamedArrays, float] | None:
        """Return the adapter as it came."""
        return update.arrays, self._weight(update)

    def begin(self, context: RoundContext) -> Adapters:
        """Open an empty list."""
        return Adapters(self.arrays, self._weight)

    def _weight(self, update: Update) -> float:
        """Return p_k but for the division by their sum."""
        by_examples = self.options.weights == "examples"
        return update.weight if by_examples else float(update.num_examples > 0)

    def conclude(self, aggregation: Adapters, context: RoundContext) -> None:
        """Take the means; add the residual to the base."""
        mean = aggregation.mean.result()
        if mean is None:
            return
        found = dict(residuals(aggregation.updates, mean))
        if self.options.rank:
            found = truncated(found, self.options.rank)
        self.merge_into_base(found.items())
        self.arrays = mean
