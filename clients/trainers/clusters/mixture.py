"""A client's data as a mixture of learners: who explains which example, and how much of it all.

The letters are those of FedDAA and FedRC: learner m, example j with label y_j, its loss l_{m,j}.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Float = npt.NDArray[np.float64]
LEAST = 1e-8


def responsibilities(
    losses: npt.NDArray[np.floating],
    pi: npt.NDArray[np.floating],
    label_weights: npt.NDArray[np.floating],
    targets: npt.NDArray[np.int64],
) -> Float:
    """Return gamma_{m,j} = pi_m exp(-l_{m,j}) / c_{m,y_j}, divided by its sum over m.

    Parameters
    ----------
    losses : ndarray, shape (M, n)
    pi : ndarray, shape (M,)
        Share of each learner, at least one above 0.
    label_weights : ndarray, shape (M, C)
        c_{m,y}, the share of label y in learner m; below 1e-8 it counts as that.
    targets : ndarray, shape (n,)
        Class numbers.

    Returns
    -------
    ndarray, shape (M, n)
        Each column sums to 1.
    """
    c = np.maximum(np.asarray(label_weights, np.float64), LEAST)[:, targets]
    with np.errstate(divide="ignore"):
        shares = np.log(np.asarray(pi, np.float64))[:, None]
    logits = shares - np.asarray(losses, np.float64) - np.log(c)
    weights = np.exp(logits - logits.max(axis=0))
    gamma: Float = weights / weights.sum(axis=0)
    return gamma


def label_masses(gamma: Float, targets: npt.NDArray[np.int64], classes: int) -> Float:
    """Return the mean over examples of gamma_{m,j} [y_j = y], shape (M, classes).

    A row's sum is pi_m.
    """
    of_class = np.eye(classes)[targets]
    masses: Float = gamma @ of_class / len(targets)
    return masses
