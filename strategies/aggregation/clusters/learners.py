"""Learners of a mixture: how a new one begins, and how labels spread over them."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from models.lora.factors import role_of
from models.randomness import derive_generator
from models.schema import NamedArrays

_HEAD_SPREAD, _LEAST, _DOUBT = 0.02, 1e-8, 0.1


def fresh_learner(first: NamedArrays, number: int) -> NamedArrays:
    """Return a learner that differs from the common start, and knows nothing of any label.

    LoRA's A is drawn as PEFT draws it and B is 0; the head's weights are normal(0, 0.02), its
    biases 0. Without a head B is drawn so, or the start would be one function for all learners.

    Parameters
    ----------
    first : NamedArrays
        The common start. It depends on the run's seed, and so does what is drawn here.
    number : int
        Of the learner; another one is another learner.
    """
    mark = hashlib.sha256(first.vector.tobytes()).hexdigest()
    generator = derive_generator(number, "fresh learner", mark)
    fresh = NamedArrays(first.schema, first.vector.copy())
    has_head = any(first.schema.in_head(key) for key in fresh)
    for key, array in fresh.items():
        if first.schema.in_head(key):
            weights = array.ndim > 1
            array[...] = _HEAD_SPREAD * generator.normal(size=array.shape) if weights else 0
        elif role_of(key) == "A":
            bound = 1 / math.sqrt(math.prod(array.shape[1:]))
            array[...] = generator.uniform(-bound, bound, array.shape)
        elif role_of(key) == "B":
            array[...] = 0 if has_head else _HEAD_SPREAD * generator.normal(size=array.shape)
    return fresh


def match_clusters(
    pairs: Iterable[tuple[int, int]], clusters: int, learners: Sequence[int]
) -> dict[int, int]:
    """Give each cluster a learner of its own, such that most clients keep theirs.

    Parameters
    ----------
    pairs : iterable of (int, int)
        Of each client, the cluster of its old data and the learner it used.
    clusters : int
        As many as there are learners.
    learners : sequence of int
        Numbers, ascending; where nothing speaks for another, the first cluster has the first.

    Returns
    -------
    dict of int to int
        Learner by cluster.
    """
    from scipy.optimize import linear_sum_assignment

    place = {learner: column for column, learner in enumerate(learners)}
    votes = np.zeros((clusters, len(learners)))
    for cluster, learner in pairs:
        if learner in place:
            votes[cluster, place[learner]] += 1
    rows, columns = linear_sum_assignment(votes, maximize=True)
    return {int(row): learners[column] for row, column in zip(rows, columns, strict=True)}


def first_shares(count: int, place: int) -> npt.NDArray[np.float64]:
    """Return 0.9 for one learner, the rest evenly for the others; 1 for an only one."""
    shares = np.full(count, _DOUBT / max(1, count - 1))
    shares[place] = 1 - _DOUBT if count > 1 else 1.0
    return shares


def label_weights(masses: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Return c_{m,y}: each learner's share of every label; rows sum to 1.

    Parameters
    ----------
    masses : ndarray, shape (M, C)
        Sum of gamma_{j,m} over all examples of a label, of all clients.
    """
    known = np.maximum(np.asarray(masses, np.float64), _LEAST)
    shares: npt.NDArray[np.float64] = known / known.sum(axis=1, keepdims=True)
    return shares
