"""LoRA-Squeeze: Vulic et al., 2026, https://arxiv.org/abs/2602.10993

Learn wide, then cut: the adapter begins at its full rank and is cut, in steps during training, to
its best approximation of a lower one:

    s B A = U S V^T;   A' = (S_r / s')^(1/2) V_r^T,  B' = U_r (S_r / s')^(1/2)

The ranks fall by halves and last equally long. After a cut the rule inside starts anew from the
smaller adapter, so a server optimiser's moments are reset. ``bouquet squeeze`` does one cut after
training.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field

from models.errors import ConfigurationError
from models.lora.factors import rank_of, require_products, with_rank
from models.lora.resize import resized
from models.schema import NamedArrays
from strategies import base
from strategies.aggregation.lora.squeeze import annealed_rank, squeezed
from strategies.fedavg import FedAvg
from strategies.lora.ranked import RankedOptions
from strategies.rounds.context import RoundContext


class LoRASqueezeOptions(RankedOptions):
    """Options of `LoRASqueeze`."""

    rank: Annotated[int, Field(ge=1, description="the rank at the end")] = 2


class LoRASqueeze(base.Wrapper):
    """The rule inside, at ranks that fall during training."""

    about: ClassVar[str] = "cuts the adapter to lower ranks in the course of the training"
    travels: ClassVar[str] = "as inside, less after each cut"
    clusterable: ClassVar[bool] = False
    default_inner: ClassVar[type[base.Strategy] | None] = FedAvg
    Options: ClassVar[type[base.Options]] = LoRASqueezeOptions
    options: LoRASqueezeOptions
    _folder: Path | None = None

    def keep_in(self, folder: Path) -> None:
        """Remember the folder: each rank has a part of its own."""
        self._folder = folder

    def initialise(self, arrays: NamedArrays) -> None:
        """Begin at the adapter's full rank."""
        require_products(arrays.schema)
        if self.options.rank > rank_of(arrays.schema):
            raise ConfigurationError(
                f"lora-squeeze: rank = {self.options.rank} is above the adapter's own, "
                f"{rank_of(arrays.schema)}; raise adapter-args='rank=...'"
            )
        self._full = arrays.schema
        self._begin_at(arrays)

    def _begin_at(self, arrays: NamedArrays) -> None:
        if self._folder is not None:
            self.inner.keep_in(self._folder / f"rank-{rank_of(arrays.schema)}")
        self.inner.initialise(arrays)

    def _cut_to(self, rank: int) -> None:
        """Start the rule inside anew at a lower rank; nothing where it is there already."""
        if rank < rank_of(self.arrays.schema):
            smaller = with_rank(self._full, rank, self.options.alpha)
            self._begin_at(squeezed(self.arrays, smaller))

    @property
    def exported(self) -> NamedArrays:
        """The adapter at its rank of now."""
        return self.inner.exported

    @property
    def model(self) -> NamedArrays:
        """The same product at the full rank, for a model of that rank."""
        return resized(self.inner.model, self._full)

    def conclude(self, aggregation: Any, context: RoundContext) -> None:
        """Aggregate, and cut where the next rank's turn has come."""
        super().conclude(aggregation, context)
        elapsed = min(1.0, context.round / max(1, context.num_rounds))
        rank = annealed_rank(rank_of(self._full), self.options.rank, elapsed)
        self._cut_to(rank)

    def figures(self) -> dict[str, float]:
        """Return the rank beside the inner figures."""
        return {**super().figures(), "rank": float(rank_of(self.arrays.schema))}

    def state(self) -> base.State:
        """Return the rank and the inner state."""
        return base.State(values={"rank": rank_of(self.arrays.schema)}) | super().state()

    def restore(self, state: base.State) -> None:
        """Go to the rank and take the inner state back."""
        self._cut_to(int(state.values["rank"] or 1))
        super().restore(state)
