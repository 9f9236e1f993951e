"""Strategy: every server half, with the hooks that a method may override."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from models.errors import BouquetError
from models.lora.base_change import BaseChanges
from models.schema import NamedArrays
from strategies.aggregation.lora.product import Delta
from strategies.flower import FlowerInterface
from strategies.hooks import Aggregation
from strategies.plan import Plan
from strategies.rounds.context import Instruction, RoundContext, Update
from strategies.state import Options, State

if TYPE_CHECKING:
    from models.inversion.training import ClientTraining


class Strategy(FlowerInterface):
    """Base of all strategies. Override what your method changes.

    Attributes
    ----------
    about : str
        One line for people.
    travels : str
        What clients and server send each other, for people.
    keeps_state : bool
        Its clients keep something on their nodes from round to round.
    needs_groups : bool
        It needs to know which group each example belongs to (``group-columns``).
    linear : bool
        The result is a weighted sum of updates, which are then consumed one by one and may be
        added up a node's stream at a time. A rule that needs all updates at once says False and
        gets them in one stream, in roster order.
    wraps : bool
        It takes another strategy as `inner`.
    has_global_model : bool
        `arrays` is a model to test on the server and to export.
    clusterable : bool
        It may run inside a method that has several models, as an instance for each.
    several_models : bool
        It has several models at once, by cluster; only the outermost method may.
    mixes_ranks : bool
        Clients may train the adapter at ranks of their own.
    mixes_models : bool
        Clients may have base models of their own: nothing of them is averaged but what all share.
    needs_labels : bool
        It works on classes, or on a head for them; texts that are continued have neither.
    needs_client_training : bool
        It computes clients' training on the server, which it is lent.
    closing : str
        What closes its rounds where the settings do not say (`strategies.rounds.closing`).
    needs_fresh : str
        Why its rounds may not close while clients are still training, so that an update may be of
        an older round; empty: they may.
    reads_start : bool
        It was made for stale updates and gets them as they came, with what they started from.
        Others get them rebased: what the client would be sent now, plus what it changed.
    Options : type
        The method's options.
    arrays : NamedArrays
        The global model.
    """

    about: ClassVar[str] = ""
    travels: ClassVar[str] = "the adapter"
    keeps_state: ClassVar[bool] = False
    needs_groups: ClassVar[bool] = False
    linear: ClassVar[bool] = True
    wraps: ClassVar[bool] = False
    has_global_model: ClassVar[bool] = True
    clusterable: ClassVar[bool] = True
    several_models: ClassVar[bool] = False
    mixes_ranks: ClassVar[bool] = False
    mixes_models: ClassVar[bool] = False
    needs_labels: ClassVar[bool] = False
    needs_client_training: ClassVar[bool] = False
    closing: ClassVar[str] = "all"
    needs_fresh: ClassVar[str] = ""
    reads_start: ClassVar[bool] = False
    Options: ClassVar[type[Options]] = Options

    def __init__(self, **options: Any) -> None:
        self.options = self.Options(**options)
        self._arrays: NamedArrays | None = None

    @property
    def arrays(self) -> NamedArrays:
        """The global model; set by `initialise`."""
        if self._arrays is None:
            raise BouquetError(f"{type(self).__name__} was not started: call start() first")
        return self._arrays

    @arrays.setter
    def arrays(self, arrays: NamedArrays) -> None:
        self._arrays = arrays

    @property
    def model(self) -> NamedArrays:
        """The global model as a whole, to test and to export; `arrays` may be a part of it."""
        return self.arrays

    @property
    def exported(self) -> NamedArrays:
        """The global model as it is written into the adapter folder."""
        return self.model

    @property
    def assignment(self) -> Mapping[str, int]:
        """The cluster of every client that has one; empty without clusters."""
        return {}

    @property
    def clustered_models(self) -> Mapping[int, NamedArrays]:
        """The model of each cluster as it is written into its adapter folder."""
        return {}

    def drawing(self) -> Mapping[str, object]:
        """Return what the report draws of the clusters, as JSON values.

        ``linkage`` (rows of SciPy's linkage matrix), ``leaves`` (client ids in its order), ``cut``
        (height); ``clients`` and ``similarity`` (square, in [-1, 1]). Empty where there is nothing.
        """
        return {}

    @property
    def changes(self) -> BaseChanges | None:
        """What the method has changed in the frozen base; None if it never does."""
        return None

    @property
    def base_version(self) -> int:
        """The version of the frozen base that `arrays` belong to; 0 = as it was loaded."""
        return 0

    @property
    def serves_all(self) -> bool:
        """Whether there is a global model, to test on the server and to export."""
        return self.has_global_model

    @property
    def takes_ranks(self) -> bool:
        """Whether clients may have ranks of their own."""
        return self.mixes_ranks

    @property
    def takes_models(self) -> bool:
        """Whether clients may have base models of their own."""
        return self.mixes_models

    @property
    def needs_model(self) -> bool:
        """Whether the server has to have the run's base model, beside the length of its features.

        A method that neither shares arrays of it nor tests it says False.
        """
        return True

    @property
    def is_linear(self) -> bool:
        """Whether updates may be consumed one by one."""
        return self.linear

    @property
    def own_closing(self) -> str:
        """What closes its rounds where the settings do not say."""
        return self.closing

    @property
    def stale_errors(self) -> list[str]:
        """Why it cannot take updates of older rounds, and what would help; empty if it can."""
        if not self.needs_fresh:
            return []
        return [
            f"{type(self).__name__} would get updates of older rounds: {self.needs_fresh}; "
            "take closing = 'all' or 'first'"
        ]

    @property
    def wants_start(self) -> bool:
        """Whether stale updates come as they are, not rebased."""
        return self.reads_start

    @property
    def plan(self) -> Plan | None:
        """What closes its rounds under ``planned``; None if it plans nothing."""
        return None

    @property
    def is_affine(self) -> bool:
        """Whether a single update comes back as it is, as from a weighted mean.

        Methods that blend updates hand the rule inside the blended one.
        """
        return False

    # ---- the hooks -----------------------------------------------------------------------

    def lend(self, training: ClientTraining) -> None:
        """Take the clients' training; called before `initialise` where `needs_client_training`."""

    def initialise(self, arrays: NamedArrays) -> None:
        """Take the first model; called once, before round 1 or before `restore`."""
        self.arrays = arrays

    def sample(self, context: RoundContext) -> Sequence[str]:
        """Choose the cohort: uniform, without replacement, in roster order."""
        ids = context.available
        count = context.clients_per_round
        if not 0 < count < len(ids):
            return ids
        chosen = context.generator("cohort").choice(len(ids), size=count, replace=False)
        return [ids[i] for i in sorted(chosen)]

    def instruct(self, client: str, context: RoundContext) -> Instruction:
        """Say what one client starts from; by default everyone from the global model."""
        return Instruction(self.model_for(client), base_version=self.base_version)

    def instruct_evaluation(self, client: str, context: RoundContext) -> Instruction:
        """Say what one client evaluates; by default the model that it would use."""
        return Instruction(self.model_for(client), base_version=self.base_version)

    def begin(self, context: RoundContext) -> Aggregation:
        """Open the round's aggregation."""
        raise BouquetError(f"{type(self).__name__} must say how it aggregates: override begin()")

    def conclude(self, aggregation: Any, context: RoundContext) -> None:
        """Turn the finished aggregation into the next model."""
        raise BouquetError(f"{type(self).__name__} must say what follows: override conclude()")

    def model_for(self, client: str) -> NamedArrays:
        """Return the model that a client would use now."""
        return self.arrays

    def heard(self, client: str, metrics: Mapping[str, float]) -> None:
        """Hear what a client said when it was evaluated, in roster order."""

    @property
    def merged(self) -> Mapping[str, Delta]:
        """What the last round merged into the frozen base, by layer."""
        return {}

    def counted(self, update: Update, context: RoundContext) -> tuple[NamedArrays, float] | None:
        """Return the adapter that an update stands for, and its weight in the mean.

        None for methods that do not set out to average adapters. The record of a round compares
        the method's result with the exact mean of the products (`strategies.rounds.faithfulness`).
        """
        return None

    def figures(self) -> Mapping[str, float]:
        """Return numbers of the method's own for the round's record, such as an error or a beta."""
        return {}

    def artifacts(self) -> Mapping[str, npt.NDArray[np.generic]]:
        """Return arrays to keep in the run directory beside the adapter, by name."""
        return {}

    def keep_in(self, folder: Path) -> None:
        """Keep what does not fit into memory under this folder; called before `initialise`."""

    def forget(self, client: str, server_round: int) -> None:
        """Let go of a client that left the roster for good, before a round."""

    def state(self) -> State:
        """Return everything that a resumed run needs; what is in files is on the disk then."""
        return State({"arrays": self.arrays.vector})

    def restore(self, state: State) -> None:
        """Take `state`'s result back; `initialise` was called before."""
        self.arrays = self.arrays.replace(state.arrays["arrays"])

    def saved(self, oldest: int) -> None:
        """Hear that `state` is in a checkpoint; none older than round `oldest` will be restored."""

    def describe(self) -> str:
        """Return name and options on one line."""
        options = ", ".join(f"{k}={v!r}" for k, v in self.options.model_dump().items())
        return f"{type(self).__name__}({options})"
