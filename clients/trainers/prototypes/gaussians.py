"""Client halves of CCVR and GGEUR: statistics of classes, and training with augmented features.

Equations and papers are in the server halves, `strategies.prototypes`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from clients.trainers.base import ClientRound, Outcome, Trainer
from clients.trainers.partial import Partial
from models.errors import ClientError
from models.prototypes.tables import COUNTS, COVARIANCES, GEOMETRY, MEANS
from models.schema import NamedArrays

if TYPE_CHECKING:
    pass


class Statistics(Trainer):
    """Does not train; returns count, mean and covariance of each class's features."""

    about: ClassVar[str] = "returns count, mean and covariance of the features of each class"
    min_examples_per_class: Annotated[
        int, Field(ge=1, description="a class of which there are fewer examples is not sent")
    ] = 2

    def train(self, work: ClientRound) -> Outcome:
        """Measure the features under what the server sent."""
        from models.features import last_layer

        data = work.part("train")
        if len(data) == 0:
            raise ClientError("empty", "the client has no training examples")
        work.model.load(self.model_of(work).vector)
        f, loss = _features(work)
        classes = last_layer(work.model).out_features
        arrays = class_gaussians(f, data.targets, classes, self.min_examples_per_class)
        return Outcome(NamedArrays.of(arrays), {"train_loss": loss})


def class_gaussians(
    f: npt.NDArray[np.float64], targets: npt.NDArray[np.int64], classes: int, least: int
) -> dict[str, npt.NDArray[np.float32]]:
    """Return counts (C,), means (C, D), and upper triangles of unbiased covariances.

    Classes of fewer than `least` examples count 0; of one example the covariance is 0.
    """
    width = f.shape[1]
    upper = np.triu_indices(width)
    counts = np.zeros(classes, np.float32)
    means = np.zeros((classes, width), np.float32)
    covariances = np.zeros((classes, len(upper[0])), np.float32)
    for c in range(classes):
        rows = f[targets == c]
        if len(rows) < least:
            continue
        counts[c] = len(rows)
        means[c] = rows.mean(axis=0)
        centred = rows - rows.mean(axis=0)
        covariances[c] = (centred.T @ centred / max(1, len(rows) - 1))[upper]
    return {COUNTS: counts, MEANS: means, COVARIANCES: covariances}


def _features(work: ClientRound) -> tuple[npt.NDArray[np.float64], float]:
    """Return f of all training examples in evaluation mode, (n, D), and the mean loss."""
    import torch

    from clients.evaluation import EVALUATION_BATCH
    from models.features import features, head

    model, data = work.model, work.part("train")
    model.module.eval()
    found, loss = [], 0.0
    with torch.no_grad():
        for start in range(0, len(data), EVALUATION_BATCH):
            rows = np.arange(start, min(start + EVALUATION_BATCH, len(data)))
            f = features(model, data.inputs.batch(rows, model.device))
            targets = torch.from_numpy(data.targets[rows]).to(model.device)
            loss += float(
                torch.nn.functional.cross_entropy(head(model, f), targets, reduction="sum")
            )
            found.append(f.double().cpu().numpy())
    return np.concatenate(found), loss / len(data)


class Augmented(Partial):
    """GGEUR: trains with features drawn around the real ones."""

    about: ClassVar[str] = "trains with features drawn along the global shape of each class"
    draws: Annotated[int, Field(ge=1, description="features drawn around a real one")] = 1

    def train(self, work: ClientRound) -> Outcome:
        """Train what was sent of the adapter, beside the geometry."""
        import torch

        from clients.objectives.prototypes.augmented import AlongGeometry

        geometry = torch.tensor(work.start[GEOMETRY], device=work.model.device)
        objective = AlongGeometry(draws=self.draws).along(geometry, work.objective)
        return super().train(replace(_without_geometry(work), objective=objective))

    def model_of(self, work: ClientRound) -> NamedArrays:
        """Return what was sent of the adapter over the client's own."""
        return super().model_of(_without_geometry(work))


def _without_geometry(work: ClientRound) -> ClientRound:
    rest = work.start.schema.only([key for key in work.start if key != GEOMETRY])
    return replace(work, start=work.start.only(rest))
