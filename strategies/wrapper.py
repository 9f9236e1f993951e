"""Wrapper: a strategy around another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from models.errors import BouquetError, ConfigurationError
from models.lora.base_change import BaseChanges
from models.schema import NamedArrays
from strategies.aggregation.lora.product import Delta
from strategies.hooks import Aggregation
from strategies.plan import Plan
from strategies.rounds.context import Instruction, RoundContext
from strategies.state import State
from strategies.strategy import Strategy


class Wrapper(Strategy):
    """A strategy around another: everything goes to the inner one but what is overridden.

    Attributes
    ----------
    default_inner : type of Strategy or None
        What it wraps where nothing is said; None where something must be said.
    tells_clients : bool
        It changes what clients are sent or do; what it wraps then must leave them to it.
    """

    wraps: ClassVar[bool] = True
    travels: ClassVar[str] = "as inside"
    tells_clients: ClassVar[bool] = True
    default_inner: ClassVar[type[Strategy] | None] = None

    def __init__(self, inner: Strategy | None = None, **options: Any) -> None:
        super().__init__(**options)
        if inner is None:
            if self.default_inner is None:
                raise BouquetError(f"{type(self).__name__} wraps another strategy: give it one")
            inner = self.default_inner()
        if inner.several_models:
            raise ConfigurationError(
                f"strategy: {type(self).__name__} is around {type(inner).__name__}, which has "
                "several models; put the clusters outermost, such as 'ifca > fedopt'"
            )
        self.inner = inner

    @property
    def is_linear(self) -> bool:
        """As linear as what it wraps."""
        return self.linear and self.inner.is_linear

    @property
    def changes(self) -> BaseChanges | None:
        """The inner strategy's."""
        return self.inner.changes

    @property
    def base_version(self) -> int:
        """The inner strategy's."""
        return self.inner.base_version

    @property
    def serves_all(self) -> bool:
        """Where neither it nor what it wraps leaves parts with the clients."""
        return self.has_global_model and self.inner.serves_all

    @property
    def takes_ranks(self) -> bool:
        """As what it wraps."""
        return self.inner.takes_ranks

    @property
    def takes_models(self) -> bool:
        """As what it wraps, unless it takes care of that itself."""
        return self.mixes_models or self.inner.takes_models

    @property
    def needs_model(self) -> bool:
        """As what it wraps."""
        return self.inner.needs_model

    @property
    def is_affine(self) -> bool:
        """As what it wraps."""
        return self.inner.is_affine

    @property
    def own_closing(self) -> str:
        """Its own, or that of what it wraps."""
        return self.inner.own_closing if self.closing == "all" else self.closing

    @property
    def stale_errors(self) -> list[str]:
        """Its own and those of what it wraps, and what keeps the two apart."""
        errors = [*super().stale_errors, *self.inner.stale_errors]
        if self.inner.wants_start and not self.wants_start and not self.needs_fresh:
            inner, own = type(self.inner).__name__, type(self).__name__
            errors.append(
                f"{inner} weighs updates by their age, and {own} around it would get them moved "
                f"to the model of now; put a rule that does not inside {own}, or take "
                "closing = 'all' or 'first'"
            )
        return errors

    @property
    def wants_start(self) -> bool:
        """Where it does, or hands updates on as they are to what does."""
        hands_on = type(self).begin is Wrapper.begin
        return self.reads_start or (hands_on and self.inner.wants_start)

    @property
    def plan(self) -> Plan | None:
        """The inner strategy's."""
        return self.inner.plan

    @property
    def arrays(self) -> NamedArrays:
        """The inner strategy's global model."""
        return self.inner.arrays

    @arrays.setter
    def arrays(self, arrays: NamedArrays) -> None:
        self.inner.arrays = arrays

    @property
    def model(self) -> NamedArrays:
        """The inner strategy's."""
        return self.inner.model

    @property
    def merged(self) -> Mapping[str, Delta]:
        """The inner strategy's."""
        return self.inner.merged

    def initialise(self, arrays: NamedArrays) -> None:
        self.inner.initialise(arrays)

    def sample(self, context: RoundContext) -> Sequence[str]:
        return self.inner.sample(context)

    def instruct(self, client: str, context: RoundContext) -> Instruction:
        return self.inner.instruct(client, context)

    def instruct_evaluation(self, client: str, context: RoundContext) -> Instruction:
        return self.inner.instruct_evaluation(client, context)

    def begin(self, context: RoundContext) -> Aggregation:
        return self.inner.begin(context)

    def conclude(self, aggregation: Any, context: RoundContext) -> None:
        self.inner.conclude(aggregation, context)

    def model_for(self, client: str) -> NamedArrays:
        return self.inner.model_for(client)

    def figures(self) -> Mapping[str, float]:
        return self.inner.figures()

    def artifacts(self) -> Mapping[str, npt.NDArray[np.generic]]:
        return self.inner.artifacts()

    def keep_in(self, folder: Path) -> None:
        self.inner.keep_in(folder / "inner")

    def forget(self, client: str, server_round: int) -> None:
        self.inner.forget(client, server_round)

    def saved(self, oldest: int) -> None:
        self.inner.saved(oldest)

    def state(self) -> State:
        return self.inner.state().nested("inner")

    def restore(self, state: State) -> None:
        self.inner.restore(state.under("inner"))

    def describe(self) -> str:
        return f"{super().describe()} > {self.inner.describe()}"


def layers(strategy: Strategy) -> Iterator[Strategy]:
    """Yield a strategy and what it goes around, outermost first."""
    yield strategy
    if isinstance(strategy, Wrapper):
        yield from layers(strategy.inner)
