"""FedSA's semantic anchors: how they begin and how they move.

Letters as in `strategies.prototypes.fedsa`: s are the anchors, P the mean prototypes.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from models.prototypes.tables import Mask, Table

_EPSILON = 1e-5
"""What PyTorch's batch normalisation adds to the variance."""


def first_anchors(
    classes: int, features: int, generator: np.random.Generator
) -> npt.NDArray[np.float32]:
    """Return s = projector(z), z ~ N(0, 1), shape (C, D).

    The projector is twice a random linear layer, batch normalisation over the C rows and ReLU; so
    no anchor has a negative part.

    Parameters
    ----------
    classes, features : int
        C and D.
    generator : numpy.random.Generator
    """
    rows = generator.standard_normal((classes, features))
    bound = 1 / np.sqrt(features)
    for _ in range(2):
        weight = generator.uniform(-bound, bound, (features, features))
        bias = generator.uniform(-bound, bound, features)
        rows = _rectified(rows @ weight.T + bias)
    return rows.astype(np.float32)


def _rectified(rows: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return ReLU(BatchNorm(rows)), with the statistics of these rows."""
    deviation = np.sqrt(rows.var(axis=0) + _EPSILON)
    rectified: npt.NDArray[np.float64] = np.maximum((rows - rows.mean(axis=0)) / deviation, 0.0)
    return rectified


def moved(anchors: Table, prototypes: Table, present: Mask, momentum: float) -> Table:
    """Return momentum s + (1 - momentum) P for the classes that are present, s for the others.

    Parameters
    ----------
    anchors, prototypes : ndarray, shape (C, D)
    present : ndarray of bool, shape (C,)
    momentum : float
        0.9999 in the paper's code.
    """
    mixed = momentum * anchors.astype(np.float64) + (1 - momentum) * prototypes
    return np.where(present[:, None], mixed, anchors).astype(anchors.dtype)
