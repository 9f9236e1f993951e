"""Local against global disparity, taken apart: Hamman and Dutta, "Demystifying Local and Global
Fairness Trade-offs in Federated Learning Using Partial Information Decomposition", ICLR 2024,
https://arxiv.org/abs/2307.11333

Z is the group, S the client, Y^ what the model says; all in bits:

    global disparity  I(Z; Y^)   = Uni(Z: Y^|S) + Red(Z: Y^, S)
    local disparity   I(Z; Y^|S) = Uni(Z: Y^|S) + Syn(Z: Y^, S)

The unique part is there both for the federation and inside its clients, the redundant one only
between clients, and the synergistic one is inside clients and masked in the whole. As in
Bertschinger et al., "Quantifying Unique Information", Entropy 2014, https://arxiv.org/abs/1311.2852,

    Uni(Z: Y^|S) = min I_Q(Z; Y^|S) over all Q with Q(z, s) = P(z, s), Q(z, y) = P(z, y)

Adding the constant I(Z; S) makes that min_Q min_R sum_z P(z) KL(Q(., .|z) || R), convex in both.
Given Q the best R is the mean sum_z P(z) Q(., .|z); given R each Q(., .|z) is R scaled to its two
marginals (iterative proportional fitting). The two steps in turn converge to the minimum.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Table = npt.NDArray[np.float64]

_ROUNDS, _FITTING = 1000, 100
_TOLERANCE = 1e-8  # bits


@dataclass(frozen=True)
class Disparity:
    """The decomposition, in bits; ``unique + redundant`` is the global, ``+ masked`` the local."""

    global_: float
    local: float
    unique: float
    redundant: float
    masked: float


def decompose(counts: npt.NDArray[np.integer]) -> Disparity | None:
    """Take the disparity of some predictions apart.

    Parameters
    ----------
    counts : ndarray, shape (clients, groups, classes)
        Examples by client, group and what the model says.

    Returns
    -------
    Disparity or None
        None without examples.
    """
    total = counts.sum()
    if total == 0:
        return None
    joint: Table = counts.transpose(1, 0, 2) / total  # z, s, y
    joint = joint[joint.sum(axis=(1, 2)) > 0]
    global_ = mutual_information(joint.sum(axis=1))
    local = conditional_information(joint)
    unique = min(unique_information(joint), global_, local)
    return Disparity(global_, local, unique, global_ - unique, local - unique)


def mutual_information(joint: Table) -> float:
    """Return I(A; B) in bits of a joint distribution, shape (a, b)."""
    product = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    return _divergence(joint, product)


def conditional_information(joint: Table) -> float:
    """Return I(Z; Y|S) in bits of a joint distribution over (z, s, y)."""
    of_s = joint.sum(axis=(0, 2), keepdims=True)
    product = joint.sum(axis=2, keepdims=True) * joint.sum(axis=0, keepdims=True)
    return _divergence(joint, np.divide(product, of_s, out=np.zeros_like(joint), where=of_s > 0))


def unique_information(joint: Table) -> float:
    """Return Uni(Z: Y|S) in bits of a joint distribution over (z, s, y), P(z) > 0."""
    p = joint.sum(axis=(1, 2))
    rows, columns = joint.sum(axis=2) / p[:, None], joint.sum(axis=1) / p[:, None]
    q: Table = rows[:, :, None] * columns[:, None, :]
    known = mutual_information(joint.sum(axis=2))
    best = np.inf
    for _ in range(_ROUNDS):
        r = np.tensordot(p, q, axes=1)
        now = _divergence(p[:, None, None] * q, p[:, None, None] * r[None])
        if best - now < _TOLERANCE:
            best = min(best, now)
            break
        best = now
        q = _fitted(np.broadcast_to(r, q.shape).copy(), rows, columns)
    return max(0.0, best - known)


def _fitted(q: Table, rows: Table, columns: Table) -> Table:
    """Scale each q[z] to its marginals over s and over y."""
    for _ in range(_FITTING):
        now = q.sum(axis=2)
        q *= np.divide(rows, now, out=np.zeros_like(now), where=now > 0)[:, :, None]
        now = q.sum(axis=1)
        q *= np.divide(columns, now, out=np.zeros_like(now), where=now > 0)[:, None, :]
        if np.abs(q.sum(axis=2) - rows).max() < 1e-10:
            break
    return q


def _divergence(p: Table, q: Table) -> float:
    """Return sum p log2(p / q), with 0 log 0 = 0; never below zero by rounding."""
    there = p > 0
    return max(0.0, float((p[there] * np.log2(p[there] / q[there])).sum()))
