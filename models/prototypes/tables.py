"""Class prototypes: the tables that travel instead of adapters, and how far apart classes are.

A table has a row a class: ``prototypes`` (C, D), the means of what a model makes of a class's
examples, or ``logits`` (C, C). ``present`` (C,) is 1 for the rows that mean something, else 0.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import cdist

from models.errors import ConfigurationError
from models.schema import NamedArrays, Schema

Table = npt.NDArray[np.floating]
Mask = npt.NDArray[np.bool_]

PROTOTYPES = "prototypes"
LOGITS = "logits"
ANCHORS = "anchors"
PRESENT = "present"
HEAD_WEIGHT, HEAD_BIAS = "head.weight", "head.bias"
COUNTS, MEANS, COVARIANCES = "counts", "means", "covariances"
GEOMETRY = "geometry"


def table_of(values: Table, present: Mask, key: str = PROTOTYPES) -> NamedArrays:
    """Return a payload of class rows.

    Parameters
    ----------
    values : ndarray, shape (C, D)
    present : ndarray of bool, shape (C,)
        Rows of absent classes travel as zeros.
    key : str
    """
    rows = np.where(present[:, None], values, 0).astype(np.float32)
    return NamedArrays.of({PRESENT: present.astype(np.float32), key: rows})


def nearest_distances(points: Table) -> npt.NDArray[np.float64]:
    """Return each row's Euclidean distance to its nearest other row, shape (n,).

    Infinite for a row that is alone.
    """
    between = cdist(points, points)
    np.fill_diagonal(between, np.inf)
    nearest: npt.NDArray[np.float64] = between.min(axis=1, initial=np.inf)
    return nearest


def last_layer_keys(schema: Schema) -> tuple[str, str]:
    """Return the keys of the last linear layer's weight (C, D) and of its bias, empty if none.

    Raises
    ------
    ConfigurationError
        The schema holds no such layer.
    """
    found = schema.head_matrix
    if found is None:
        raise ConfigurationError(
            "strategy: methods of prototypes read the size of the features off the head, and it "
            "is not among what is trained here; put them outermost, as in 'fedsa > fedper'"
        )
    weight = found.key
    bias = f"{weight.removesuffix('weight')}bias"
    return weight, bias if bias in schema.slices else ""
