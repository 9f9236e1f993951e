"""FedCAC: Wu et al., "Bold but Cautious: Unlocking the Potential of Personalized Federated Learning
through Cautiously Aggressive Collaboration", ICCV 2023, https://arxiv.org/abs/2309.11103

Numbers that matter little to a client are everybody's; those that are critical to it are shared
only with clients for whom the same ones are critical. Client i returns w_i and the mask m_i of its
critical numbers (`clients.trainers.personal.fedcac`). With o_ij the overlap of masks and C_i the
collaborators of i (`strategies.aggregation.personal.overlap`),

    w     <- the rule inside, over all w_i          weighted, as FedAvg's
    u_i   <- mean of w_j over j in C_i              every collaborator counts the same
    w_i   <- m_i u_i + (1 - m_i) w                  what i starts from and is evaluated with

The threshold on o_ij rises with the rounds that had an update; after ``beta`` of them everybody
keeps its critical numbers to itself. The paper sends u_i and w and merges on the client; here the
server merges and sends one model, the same numbers for half the traffic. Masks travel as bits.

The paper has all clients in every round. Here who is absent keeps its last mask and model, and with
``candidates='all'`` (as the official code does) may be collaborated with; ``'present'`` takes only
clients of the last round as collaborators, beside oneself. Who never took part uses w. Updates are
taken one by one; models lie on disk, masks in memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from models.errors import ConfigurationError
from models.payloads.masked import mask_of, masked_schema, numbers_of
from models.schema import NamedArrays
from strategies import base
from strategies.aggregation.personal.overlap import collaborators, overlaps, threshold
from strategies.fedavg import FedAvg
from strategies.memory.masked import MaskedMemory
from strategies.rounds.context import Instruction, RoundContext, Update


class FedCACOptions(base.Options):
    """Options of `FedCAC`; letters and defaults as in the official code for CIFAR-10."""

    tau: Annotated[float, Field(ge=0, le=1, description="share of an array that is critical")] = 0.5
    beta: Annotated[
        int, Field(ge=1, description="rounds until clients share no critical numbers")
    ] = 100
    candidates: Annotated[
        Literal["all", "present"],
        Field(description="whose critical numbers count: all last models, or the last round's"),
    ] = "all"


class Cooperation:
    """One round: the rule inside, and each client's model and mask."""

    def __init__(self, owner: FedCAC, context: RoundContext) -> None:
        self._memory = owner.memory
        self._round = context.round
        self.inside: Any = owner.inner.begin(context)
        self.clients: list[str] = []

    def add(self, update: Update) -> None:
        """Hand w_i to the rule inside; remember it with m_i."""
        numbers = numbers_of(update.arrays)
        self.inside.add(replace(update, arrays=numbers))
        if update.num_examples:  # without examples nothing was learned, and nothing is critical
            mask = mask_of(update.arrays)
            self._memory.stage(update.client, self._round, numbers.vector, mask)
            self.clients.append(update.client)

    def merge(self, other: Self) -> None:
        """Take in another node's clients."""
        self.inside.merge(other.inside)
        self.clients += other.clients


class FedCAC(base.Wrapper):
    """Critical numbers shared among clients with like masks, the others with all."""

    about: ClassVar[str] = "critical numbers shared with like clients only, the rest with all"
    travels: ClassVar[str] = (
        "the adapter up with a bit a number, a mixture of each client's own down"
    )
    keeps_state: ClassVar[bool] = True
    default_inner: ClassVar[type[base.Strategy] | None] = FedAvg
    clusterable: ClassVar[bool] = False
    needs_fresh: ClassVar[str] = "masks of one round are compared with each other"
    Options: ClassVar[type[base.Options]] = FedCACOptions
    options: FedCACOptions

    def __init__(self, inner: base.Strategy | None = None, **options: Any) -> None:
        super().__init__(inner, **options)
        self._folder: Path | None = None
        if not self.inner.is_affine:
            raise ConfigurationError(
                f"strategy: FedCAC mixes the clients' adapters number by number, and "
                f"{self.inner.describe()} is no weighted mean of them; put fedavg or fedit inside"
            )

    @property
    def is_affine(self) -> bool:
        """A blended update would have no mask."""
        return False

    def keep_in(self, folder: Path) -> None:
        """Keep the clients' models under this folder."""
        self._folder = folder / "models"
        super().keep_in(folder)

    def initialise(self, arrays: NamedArrays) -> None:
        """Start from w for all."""
        super().initialise(arrays)
        self.memory = MaskedMemory(self._folder, self.arrays.schema.size)
        self._round = 0  # of the newest version in the memory
        self._last = 0  # the last round with an update
        self._passed = 0  # rounds with an update: t + 1
        self._together: Mapping[str, tuple[str, ...]] = {}
        self._figures: Mapping[str, float] = {}

    def _collaborate(self) -> None:
        """Say who is in whose C_i, from all masks there are."""
        masks = self.memory.masks
        clients = list(masks)
        self._together = {}
        if not clients:
            return
        overlap = overlaps(np.stack(list(masks.values())))
        here = masks.keys() if self.options.candidates == "all" else self._present()
        candidates = np.array([client in here for client in clients])
        least = threshold(overlap, candidates, self._passed, self.options.beta)
        chosen = collaborators(overlap, candidates, least)
        self._together = {
            client: tuple(clients[j] for j in np.flatnonzero(row))
            for client, row in zip(clients, chosen, strict=True)
        }
        self._figures = {"collaborators": float(chosen.sum(1).mean())}
        if np.isfinite(least):
            self._figures = {**self._figures, "threshold": least}

    def _present(self) -> frozenset[str]:
        return frozenset(self.memory.present(self._last))

    def model_for(self, client: str) -> NamedArrays:
        """Return m_i u_i + (1 - m_i) w; w for a client that never took part."""
        w = super().model_for(client)
        if client not in self._together:
            return w
        u = self.memory.mean(self._together[client])
        return w.replace(np.where(self.memory.mask(client), u, w.vector))

    def _instead(self, told: Instruction, client: str) -> Instruction:
        """Put the client's mixture in the place of w."""
        own = replace(told, arrays=self.model_for(client))
        return own.also({"around": "fedcac", "around.tau": self.options.tau})

    def instruct(self, client: str, context: RoundContext) -> Instruction:
        """Send the client's mixture, and ask for its mask beside the result."""
        told = self._instead(super().instruct(client, context), client)
        return replace(told, reply=masked_schema(told.arrays.schema))

    def instruct_evaluation(self, client: str, context: RoundContext) -> Instruction:
        """Evaluate the mixture."""
        return self._instead(super().instruct_evaluation(client, context), client)

    def begin(self, context: RoundContext) -> Cooperation:
        """Open the round of the rule inside."""
        return Cooperation(self, context)

    def conclude(self, aggregation: Cooperation, context: RoundContext) -> None:
        """Let the rule inside make w; find the collaborators."""
        super().conclude(aggregation.inside, context)
        if not aggregation.clients:
            return
        self._round = self._last = context.round
        self._passed += 1
        self.memory.settle(context.round, aggregation.clients)
        self._collaborate()

    def counted(self, update: Update, context: RoundContext) -> tuple[NamedArrays, float] | None:
        """Return what the rule inside makes of w_i."""
        return self.inner.counted(replace(update, arrays=numbers_of(update.arrays)), context)

    def figures(self) -> Mapping[str, float]:
        """Return the threshold and the mean number of collaborators beside the inner figures."""
        return {**super().figures(), **self._figures}

    def forget(self, client: str, server_round: int) -> None:
        """Drop a client's model and mask."""
        super().forget(client, server_round)
        self._round = server_round
        self.memory.forget(client, server_round)
        self._collaborate()

    def state(self) -> base.State:
        """Return the counters and the inner state; models and masks are on the disk then."""
        self.memory.save(self._round)
        values = {"memory": self._round, "last": self._last, "passed": self._passed}
        return base.State(values=values) | super().state()

    def restore(self, state: base.State) -> None:
        """Take them back, and find the collaborators anew."""
        super().restore(state)
        names = ("memory", "last", "passed")
        self._round, self._last, self._passed = (int(state.values[n] or 0) for n in names)
        self.memory.restore(self._round)
        self._collaborate()

    def saved(self, oldest: int) -> None:
        """Let go of versions that no checkpoint can ask for."""
        self.memory.prune(oldest)
        super().saved(oldest)
