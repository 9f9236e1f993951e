"""CELLM: Raje, "Communication-Efficient LLM Training for Federated Learning", CMU-CS-24-123, 2024,
https://arxiv.org/abs/2407.20557; its equations are FLASC's, Kuo et al., 2024,
https://arxiv.org/abs/2406.05233

All trained numbers together are theta, dense on the server. Only the largest travel, both ways:

    M = top-k of |theta| (density_down),    client i starts from theta M and trains densely
    d_i = theta M - theta_i,                 only the top-k of |d_i| (density_up) come back
    theta <- theta - sum_i p_i d_i           on the dense theta, p_i = n_i / sum_j n_j

The mask is global, not by layer, and chosen anew each round; it masks what is sent, not what is
trained. Places count as bytes. A server optimiser goes around it (``fedopt > cellm``, as in the
papers). The model that is tested, sent and exported is the masked one.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Self

import numpy as np
from pydantic import Field

from models.schema import NamedArrays
from models.sparse import delta_schema, sparse_schema, top_k
from strategies import base
from strategies.aggregation.mean import WeightedMean
from strategies.rounds.context import Instruction, RoundContext, Update

Density = Annotated[float, Field(gt=0, le=1)]


class CELLMOptions(base.Options):
    """Options of `CELLM`."""

    density_down: Annotated[Density, Field(description="share of the numbers that is sent")] = 0.25
    density_up: Annotated[Density, Field(description="share of the numbers that returns")] = 0.25


class MeanOfDeltas:
    """One round's weighted mean of sparse differences."""

    def __init__(self, size: int) -> None:
        self.mean = WeightedMean(size)

    def add(self, update: Update) -> None:
        """Add n_i d_i."""
        self.mean.add(update.arrays.vector, update.weight)

    def merge(self, other: Self) -> None:
        """Add another node's sum."""
        self.mean.merge(other.mean)


class CELLM(base.Strategy):
    """Sparse adapters both ways over a dense one on the server."""

    about: ClassVar[str] = "top-k of the adapter down, top-k of the change up, dense on the server"
    travels: ClassVar[str] = "density-down and density-up of all numbers, with their places"
    clusterable: ClassVar[bool] = False
    reads_start: ClassVar[bool] = True
    Options: ClassVar[type[base.Options]] = CELLMOptions
    options: CELLMOptions
    _masked: tuple[NamedArrays, NamedArrays] | None = None

    @property
    def model(self) -> NamedArrays:
        """theta M."""
        theta = self.arrays.vector
        mask = top_k(theta, self.options.density_down)
        return self.arrays.replace(np.where(mask, theta, np.zeros(1, theta.dtype)))

    def instruct(self, client: str, context: RoundContext) -> Instruction:
        """Send theta M and ask for the largest changes."""
        sent = self._sent()
        wanted = Instruction(sent, reply=delta_schema(sent.schema))
        return wanted.also({"trainer": "sparse", "trainer.density": self.options.density_up})

    def instruct_evaluation(self, client: str, context: RoundContext) -> Instruction:
        """Evaluate theta M."""
        return Instruction(self._sent(), {"trainer": "sparse"})

    def _sent(self) -> NamedArrays:
        # One object for all clients of a round, so that it is encoded once.
        if self._masked is None or self._masked[0] is not self.arrays:
            masked = self.model
            sent = NamedArrays(sparse_schema(masked.schema), masked.vector)
            self._masked = (self.arrays, sent)
        return self._masked[1]

    def begin(self, context: RoundContext) -> MeanOfDeltas:
        """Open an empty mean."""
        return MeanOfDeltas(self.arrays.schema.size)

    def conclude(self, aggregation: MeanOfDeltas, context: RoundContext) -> None:
        """Step along the mean difference."""
        mean = aggregation.mean.result()
        if mean is not None:
            self.arrays = self.arrays.replace(self.arrays.vector.astype(np.float64) - mean)
