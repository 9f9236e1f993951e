"""The base of client halves that answer with class means.

What of the adapter the server does not send is the client's own and stays on its node, all of it
where the server sends tables only.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from clients.trainers.base import ClientRound, Outcome, Trainer
from models.errors import ClientError
from models.prototypes.tables import LOGITS, PRESENT, PROTOTYPES, Mask, Table, table_of
from models.schema import NamedArrays

if TYPE_CHECKING:
    from clients.objectives.prototypes.collecting import ClassSums, Collecting

OWN = "@"
"""What keys of the client's own tables begin with, beside those of its adapter."""


class Prototypical(Trainer):
    """Trains its own adapter beside the tables that the server sent, and returns class means."""

    values: ClassVar[str] = PROTOTYPES
    min_examples_per_class: Annotated[
        int, Field(ge=1, description="a class of which there are fewer examples is not sent")
    ] = 2
    clip: Annotated[float, Field(ge=0, description="longest that a row may be; 0 = any")] = 0.0
    noise: Annotated[
        float, Field(ge=0, description="standard deviation of the noise, in units of clip")
    ] = 0.0
    collect: Annotated[
        Literal["all-epochs", "last-epoch", "after"],
        Field(description="what the means are over: the passes of training, or one after it"),
    ] = "all-epochs"

    @abstractmethod
    def objective(self, work: ClientRound) -> Collecting:
        """Return what the client minimises in this round."""

    def train(self, work: ClientRound) -> Outcome:
        """Train, keep what is the client's own, and return the class means."""
        from clients.objectives.prototypes.collecting import collected
        from clients.training import losses_an_epoch

        start, shape = self.model_of(work), self.shape(work)
        data = work.part("train")
        objective = self.objective(work)
        per_epoch = losses_an_epoch(len(data), work.recipe)
        objective.beside(work.objective, shape, self.collect, per_epoch)
        trained = work.fit(start.vector, objective=objective)
        sums = objective.sums
        if self.collect == "after":
            sums = collected(work.model, data, shape, of_logits=objective.of_logits)
        arrays = NamedArrays(work.model.schema, trained.vector)
        shared = arrays.only(work.start.schema.only([k for k in work.start if k in arrays]))
        own: dict[str, npt.NDArray[np.generic]] = {k: arrays[k] for k in arrays if k not in shared}
        work.keep(own | self.remembered(sums), {})
        table = self.released(sums, data.targets, work)
        metrics = {"train_loss": trained.loss, "class_spread": sums.spread()}
        return Outcome(shared.beside(table), metrics)

    def model_of(self, work: ClientRound) -> NamedArrays:
        """Return the client's own adapter under what the server sent of one."""
        kept = work.kept.arrays if work.kept is not None else {}
        own = {key: array for key, array in kept.items() if not key.startswith(OWN)}
        sent = {key: work.start[key] for key in work.start if key in work.initial}
        return work.initial.overlaid(own).overlaid(sent)

    def shape(self, work: ClientRound) -> tuple[int, int]:
        """Return the shape of the table, (C, D) or (C, C).

        Raises
        ------
        ClientError
            ``features``, where the rows that the server sent are of another length.
        """
        from models.features import last_layer

        layer = last_layer(work.model)
        classes, features = layer.out_features, layer.in_features
        for key in work.start:
            if key not in work.initial and work.start[key].ndim == 2:
                found = work.start[key].shape
                expected = (classes, classes if key == LOGITS else features)
                if found != expected:
                    raise ClientError(
                        "features",
                        f"this client's {key} are {expected}, the federation's {found}; set "
                        "model-args='feature-dim=...' so that all models have one length",
                    )
        return classes, classes if self.values == LOGITS else features

    def remembered(self, sums: ClassSums) -> dict[str, npt.NDArray[np.generic]]:
        """Return tables to keep for the client's next round."""
        return {}

    def released(
        self, sums: ClassSums, targets: npt.NDArray[np.int64], work: ClientRound
    ) -> NamedArrays:
        """Return the table that leaves: without small classes, clipped and noised if asked."""
        rows = sums.means()
        examples = np.bincount(targets, minlength=len(rows))
        present = (examples >= self.min_examples_per_class) & (sums.examples > 0)
        return table_of(guarded(rows, self.clip, self.noise, work), present, self.values)


def guarded(rows: Table, clip: float, noise: float, work: ClientRound) -> Table:
    """Return rows of length `clip` at most, with noise of deviation `noise` times `clip`."""
    if not clip:
        return rows
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    short: Table = rows * np.minimum(1.0, clip / np.maximum(lengths, 1e-12))
    if noise:
        short = short + work.generator("prototypes").normal(0.0, noise * clip, rows.shape)
    return short


def rows_and_mask(work: ClientRound, key: str) -> tuple[Table, Mask]:
    """Return a table that the server sent; without a mask all its rows mean something."""
    rows = work.start[key]
    mask = work.start[PRESENT] > 0 if PRESENT in work.start else np.ones(len(rows), bool)
    return rows, mask
