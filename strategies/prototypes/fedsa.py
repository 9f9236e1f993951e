"""FedSA: Zhou et al., "FedSA: A Unified Representation Learning via Semantic Anchors for
Prototype-based Federated Learning", AAAI 2025, https://arxiv.org/abs/2501.05496

Semantic anchors s_c, one a class, take the place of averaged prototypes as what clients learn
towards. The server draws them once, s = projector(z) with z ~ N(0, 1), and moves them slowly:

    P_c = mean of o_{k,c} over the clients k that have class c
    s_c <- m s_c + (1 - m) P_c        m = 0.9999, for the classes of this round

Client k trains its own model f, g with the anchors (`clients.trainers.prototypes.fedsa`) and sends
o_{k,c}, the mean of f(x) over the examples of class c as they were met in training. A client
classifies by the nearest prototype P_c, and a class that nobody has keeps its last P_c.

Not to be mixed up with FedSA-LoRA (`strategies.lora.fedsa_lora`), which shares the A of LoRA.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from models.prototypes.tables import ANCHORS, PROTOTYPES
from models.randomness import derive_generator
from models.schema import NamedArrays
from strategies import base
from strategies.aggregation.prototypes.anchors import first_anchors, moved
from strategies.prototypes.base import Prototypes, separation
from strategies.prototypes.options import NearestOptions
from strategies.prototypes.round import PrototypeRound
from strategies.rounds.context import RoundContext


class FedSAOptions(NearestOptions):
    """Options of `FedSA`; names as in the paper's code."""

    lambda_: Annotated[
        float, Field(alias="lambda", ge=0, description="weight of the pull towards the anchors")
    ] = 10.0
    mcl: Annotated[
        float, Field(ge=0, description="weight of margin-enhanced contrastive learning")
    ] = 1.0
    cc: Annotated[float, Field(ge=0, description="weight of classifier calibration")] = 1.0
    momentum: Annotated[float, Field(ge=0, le=1, description="m, how slowly anchors move")] = 0.9999


class FedSA(Prototypes):
    """Semantic anchors down, class prototypes up."""

    about: ClassVar[str] = "clients learn towards semantic anchors; only class prototypes travel"
    travels: ClassVar[str] = "anchors down, C x D prototypes up"
    Options: ClassVar[type[base.Options]] = FedSAOptions
    options: FedSAOptions
    trainer: ClassVar[str] = "fedsa"
    server_options: ClassVar[frozenset[str]] = frozenset(["momentum"])

    def initialise(self, arrays: NamedArrays) -> None:
        """Begin without prototypes; the anchors follow from the run's seed."""
        super().initialise(arrays)
        self._anchors: NamedArrays | None = None

    def anchors(self, context: RoundContext) -> NamedArrays:
        """Return s, shape (C, D)."""
        if self._anchors is None:
            generator = derive_generator(context.seed, "fedsa", "anchors")
            self._anchors = NamedArrays.of({ANCHORS: first_anchors(*self.shape, generator)})
        return self._anchors

    def sent(self, context: RoundContext) -> NamedArrays:
        """Return the anchors: clients need the prototypes to classify only."""
        return self.anchors(context)

    def take(self, came: PrototypeRound, context: RoundContext) -> None:
        """Move the anchors."""
        self.tables = self.updated(came)
        s = self.anchors(context)
        mean, present = came.mean.result(), came.mean.present
        self._anchors = s.replace(
            moved(s[ANCHORS], mean, present, self.options.momentum).reshape(-1)
        )

    def figures(self) -> dict[str, float]:
        """Return also how far anchors are apart, and prototypes from their anchors."""
        found = dict(super().figures())
        if self._anchors is not None and self._figures:
            s, known = self._anchors[ANCHORS], self.known
            away = np.linalg.norm(self.tables[PROTOTYPES][known] - s[known], axis=1)
            found |= {
                "anchor_separation": separation(s, np.ones(len(s), bool)),
                "anchor_distance": float(away.mean()),
            }
        return found

    def artifacts(self) -> dict[str, npt.NDArray[np.generic]]:
        """Return the anchors too."""
        own = {} if self._anchors is None else dict(self._anchors)
        return {**super().artifacts(), **own}

    def state(self) -> base.State:
        """Return the anchors too."""
        own = {} if self._anchors is None else {"anchors": self._anchors.vector}
        return base.State(own) | super().state()

    def restore(self, state: base.State) -> None:
        """Take them back."""
        super().restore(state)
        if "anchors" in state.arrays:
            s = state.arrays["anchors"].reshape(self.shape)
            self._anchors = NamedArrays.of({ANCHORS: s})
