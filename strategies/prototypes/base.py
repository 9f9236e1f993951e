"""The base of methods in which class prototypes travel.

By itself such a method shares no adapter: each client keeps its own, head included, on its node,
so clients may differ in their models. Around another method, as in ``fedsa > fedavg``, the
prototypes travel beside what that one shares.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from models.errors import ConfigurationError
from models.prototypes.tables import (
    PRESENT,
    PROTOTYPES,
    Mask,
    Table,
    last_layer_keys,
    nearest_distances,
    table_of,
)
from models.schema import NamedArrays
from strategies import base
from strategies.prototypes.history import History
from strategies.prototypes.options import PrototypesOptions
from strategies.prototypes.round import PrototypeRound
from strategies.prototypes.unshared import Unshared
from strategies.rounds.context import Instruction, RoundContext

_REPLACEABLE = frozenset(["plain", "partial"])
"""Client halves whose part ours do too: train what was sent, keep the rest."""


class Prototypes(base.Wrapper):
    """Base of methods whose clients send a table of class rows.

    Attributes
    ----------
    trainer : str
        Name of the client half.
    values : str
        Key of the rows that clients send.
    needs_each : bool
        The server needs every client's rows by themselves, not only their mean.
    server_options : frozenset of str
        Options that clients are not told.
    tables : NamedArrays
        What clients classify with, and by default train with.
    """

    travels: ClassVar[str] = "C x D prototypes"
    keeps_state: ClassVar[bool] = True
    default_inner: ClassVar[type[base.Strategy] | None] = Unshared
    needs_labels: ClassVar[bool] = True
    Options: ClassVar[type[base.Options]] = PrototypesOptions
    trainer: ClassVar[str]
    values: ClassVar[str] = PROTOTYPES
    needs_each: ClassVar[bool] = False
    server_options: ClassVar[frozenset[str]] = frozenset()

    @property
    def is_affine(self) -> bool:
        """Tables are not blended like adapters."""
        return False

    @property
    def takes_ranks(self) -> bool:
        """Those who share an adapter beside the prototypes have one rank."""
        return False

    @property
    def known(self) -> Mask:
        """The classes that clients can classify, shape (C,)."""
        known: Mask = self.tables[PRESENT] > 0
        return known

    # ---- what a method says --------------------------------------------------------------

    @abstractmethod
    def take(self, came: PrototypeRound, context: RoundContext) -> None:
        """Make the next tables of what came; called where some class came."""

    def first_tables(self, arrays: NamedArrays) -> NamedArrays:
        """Return what clients classify with before any training."""
        return table_of(np.zeros(self.shape), np.zeros(self.shape[0], bool), self.values)

    def sent(self, context: RoundContext) -> NamedArrays:
        """Return the tables that clients train with."""
        return self.tables

    def width(self, classes: int, features: int) -> int:
        """Return the length of a row that clients send."""
        return features

    # ---- the hooks -----------------------------------------------------------------------

    def initialise(self, arrays: NamedArrays) -> None:
        """Begin without a prototype of any class."""
        classes, features = (int(n) for n in arrays[last_layer_keys(arrays.schema)[0]].shape)
        self.shape = classes, self.width(classes, features)
        nothing = table_of(np.zeros(self.shape), np.zeros(classes, bool), self.values)
        self._reply = nothing.schema
        self.tables = self.first_tables(arrays)
        self.history = History()
        self._figures: dict[str, float] = {}
        self._joined: dict[str, tuple[NamedArrays, NamedArrays, NamedArrays]] = {}
        super().initialise(arrays)

    def instruct(self, client: str, context: RoundContext) -> Instruction:
        """Send tables beside what the method inside sends, and ask for the client's own."""
        told = super().instruct(client, context)
        reply = (told.reply or told.arrays.schema).beside(self._reply)
        return replace(self._beside("train", told, self.sent(context)), reply=reply)

    def instruct_evaluation(self, client: str, context: RoundContext) -> Instruction:
        """Send what a client classifies with."""
        return self._beside("evaluate", super().instruct_evaluation(client, context), self.tables)

    def _beside(self, action: str, told: Instruction, tables: NamedArrays) -> Instruction:
        other = told.config.get("around") or told.config.get("trainer", "plain")
        if other not in _REPLACEABLE or told.reply is not None:
            raise ConfigurationError(
                f"strategy: {type(self).__name__} cannot go around {self.inner.describe()}, whose "
                f"clients work in their own way ('{other}'); take fedavg, fedopt or fedper inside"
            )
        known = self._joined.get(action)
        # One object for all clients of a round, so that it is encoded once.
        if known is None or known[0] is not told.arrays or known[1] is not tables:
            known = told.arrays, tables, told.arrays.beside(tables)
            self._joined[action] = known
        options = self.options.model_dump(by_alias=True, exclude=set(self.server_options))
        own = {f"trainer.{name}": value for name, value in options.items()}
        return replace(told.also({"trainer": self.trainer, **own}), arrays=known[2])

    def model_for(self, client: str) -> NamedArrays:
        """Return what the method inside has for a client, and the tables."""
        return super().model_for(client).beside(self.tables)

    def begin(self, context: RoundContext) -> PrototypeRound:
        """Open an empty table."""
        return PrototypeRound(super().begin(context), self.shape, self.values, self.needs_each)

    def conclude(self, aggregation: PrototypeRound, context: RoundContext) -> None:
        """Let the method inside conclude, then take the tables."""
        super().conclude(aggregation.inner, context)
        mean = aggregation.mean
        if not mean.present.any():
            return
        self.take(aggregation, context)
        self._figures = {
            "class_separation": separation(mean.result(), mean.present),
            "class_spread": aggregation.class_spread,
            "client_spread": mean.spread(),
            "classes_present": float(mean.present.sum()),
        }
        shown = self.tables if self.values in self.tables else table_of(mean.result(), mean.present)
        rows, present = shown[self.values], shown[PRESENT] > 0
        self.history.keep(context.round, context.num_rounds, rows, present)

    def updated(self, came: PrototypeRound) -> NamedArrays:
        """Return the tables with the round's means; a class that nobody had keeps its last row."""
        present = came.mean.present
        rows = np.where(present[:, None], came.mean.result(), self.tables[self.values])
        return table_of(rows, present | self.known, self.values)

    def figures(self) -> Mapping[str, float]:
        """Return how far classes are apart, and examples and clients within a class."""
        return {**super().figures(), **self._figures}

    def artifacts(self) -> dict[str, npt.NDArray[np.generic]]:
        """Return the tables, and those of earlier rounds."""
        return {**super().artifacts(), **dict(self.tables), **self.history.artifacts()}

    def state(self) -> base.State:
        """Return the tables of now and of earlier rounds, and the inner state."""
        own = base.State({"tables": self.tables.vector}) | self.history.state().nested("history")
        return own | super().state()

    def restore(self, state: base.State) -> None:
        """Take them back."""
        self.tables = self.tables.replace(state.arrays["tables"])
        self.history.restore(state.under("history"), self.shape)
        super().restore(state)


def separation(rows: Table, present: Mask) -> float:
    """Return the mean distance of a class to the nearest other one; 0 where there is only one."""
    nearest = nearest_distances(rows[present])
    return float(nearest.mean()) if np.isfinite(nearest).all() else 0.0


def check_order(outermost: base.Strategy) -> None:
    """Refuse a method of prototypes inside one that tells clients what to do.

    Raises
    ------
    ConfigurationError
        Names both, and the order in which they go together, if there is one.
    """
    telling: base.Strategy | None = None
    for strategy in base.layers(outermost):
        if isinstance(strategy, Prototypes) and telling is not None:
            one, other = type(strategy).__name__, type(telling).__name__
            raise ConfigurationError(
                f"strategy: {one} cannot be inside {other}, as both tell clients what to do; "
                "a method of prototypes stands outermost, as in 'fedsa > fedper'"
            )
        if isinstance(strategy, base.Wrapper) and strategy.tells_clients:
            telling = telling or strategy
