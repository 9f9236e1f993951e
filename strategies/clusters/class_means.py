"""Class prototypes for clustering: the mean output of one model for each class of a client's data.

C x C numbers tell clients apart by what inputs of a class look like to a model that all are asked
about, without any training; what FedDAA compares (https://arxiv.org/abs/2506.21054).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from models.errors import BouquetError
from models.schema import ArraySpec, NamedArrays, Schema
from strategies.rounds.context import Instruction, Update

Float64 = npt.NDArray[np.float64]
ASKED: Mapping[str, str] = {"trainer": "feddaa", "trainer.phase": "prototypes"}


def classes_of(schema: Schema) -> int:
    """Return the number of classes: what the schema says, or the head's rows.

    Raises
    ------
    BouquetError
        Neither is there.
    """
    said = schema.facts.get("labels")
    rows = [spec.shape[0] for spec in schema.arrays if schema.in_head(spec.key) and spec.shape]
    if not isinstance(said, int) and not rows:
        raise BouquetError(
            "class prototypes need the number of classes, and the adapter's schema has neither the "
            "fact 'labels' nor a head; take a task with labels"
        )
    return said if isinstance(said, int) else rows[-1]


def class_means_schema(classes: int) -> Schema:
    """Return what clients answer with: prototypes of now and of the slot before, and marks."""
    shapes = dict.fromkeys(("new", "old"), (classes, classes))
    marks = {f"{name}-present": (classes,) for name in ("new", "old")}
    return Schema(tuple(ArraySpec(k, s) for k, s in sorted({**shapes, **marks}.items())))


class ClassMeans:
    """What clients are asked for, and the vectors that come of it.

    Parameters
    ----------
    schema : Schema
        Of the model.
    """

    def __init__(self, schema: Schema) -> None:
        self._reply = class_means_schema(classes_of(schema))

    def asked(self, model: NamedArrays) -> Instruction:
        """Ask for the prototypes by a model."""
        return Instruction(model, dict(ASKED), self._reply)

    def of(self, update: Update) -> Float64:
        """Return a client's prototypes, shape (C * C,); NaN where it lacks the class."""
        found = update.arrays["new"].astype(np.float64)
        found[update.arrays["new-present"] < 0.5] = np.nan
        return found.ravel()


def filled(rows: Float64) -> Float64:
    """Put the mean of those who know a number where others lack it; 0 where nobody does."""
    known = ~np.isnan(rows)
    counts = known.sum(axis=0)
    means = np.where(known, rows, 0.0).sum(axis=0) / np.maximum(counts, 1)
    return np.where(known, rows, means)
