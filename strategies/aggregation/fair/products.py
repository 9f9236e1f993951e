"""The mean of FairLoRA's products, and the factors of low rank that come closest to it.

One layer's products for all groups together are a tensor T[g] = U diag(S_g) V: a sum of r rank-one
terms (Carroll and Chang, "Analysis of individual differences in multidimensional scaling",
Psychometrika 1970). Stacked factors give the clients' mean exactly, at the sum of their ranks;
alternating least squares bring it back to rank r.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from models.schema import NamedArrays
from strategies.aggregation.fair.factors import Floats, key_of

Factors = tuple[Floats, Floats, Floats]


def stacked(
    parts: Sequence[tuple[NamedArrays, Floats]],
    layer: str,
    weights: Floats,
    groups: npt.NDArray[np.int64],
) -> Factors:
    """Return factors whose product is the clients' exact mean product, for every group.

    With rank K r: U = [U_1 ... U_K], V = [V_1; ...; V_K], S_g = [w_{1,g} S_{1,g} ... ].

    Parameters
    ----------
    parts : sequence of (NamedArrays, ndarray of shape (groups,))
        Adapters, and their weight for each group.
    layer : str
    weights : ndarray, shape (groups,)
        The sums of the weights, above 0.
    groups : ndarray of int64
        The rows of S that are wanted; `weights` and the parts' weights are theirs.
    """
    u = np.concatenate([part[key_of(layer, "U")] for part, _ in parts], axis=1, dtype=np.float64)
    v = np.concatenate([part[key_of(layer, "V")] for part, _ in parts], axis=0, dtype=np.float64)
    s = [(w / weights)[:, None] * part[key_of(layer, "S")][groups] for part, w in parts]
    return u, np.concatenate(s, axis=1, dtype=np.float64), v


def fitted(target: Factors, start: Factors, sweeps: int = 50) -> Factors:
    """Return factors of lower rank whose products come closest to the target's, over all groups.

    sum_g ||U diag(S_g) V - U* diag(S*_g) V*||^2 is a least-squares problem in each factor while
    the other two stay; they are solved in turn from `start`, so the result is never worse than
    that. Everything is done on Gram matrices of the factors; no whole matrix is formed.

    Parameters
    ----------
    target, start : (U, S, V)
        Of shapes (in, k), (groups, k), (k, out) and (in, r), (groups, r), (r, out).
    sweeps : int
        How often each factor is solved for.
    """
    (tu, ts, tv), (u, s, v) = target, start
    before = misfit(target, start)
    for _ in range(sweeps):
        v = _solve((u.T @ u) * (s.T @ s), ((u.T @ tu) * (s.T @ ts)) @ tv)
        u = _solve((v @ v.T) * (s.T @ s), ((v @ tv.T) * (s.T @ ts)) @ tu.T).T
        s = _solve((u.T @ u) * (v @ v.T), ((u.T @ tu) * (v @ tv.T)) @ ts.T).T
    return (u, s, v) if misfit(target, (u, s, v)) <= before else start


def misfit(target: Factors, found: Factors) -> float:
    """Return the square root of sum_g ||difference of products||^2 over that of the target's."""
    (tu, ts, tv), (u, s, v) = target, found
    own = float((((u.T @ u) * (v @ v.T)) * (s.T @ s)).sum())
    whole = float((((tu.T @ tu) * (tv @ tv.T)) * (ts.T @ ts)).sum())
    both = float((((u.T @ tu) * (v @ tv.T)) * (s.T @ ts)).sum())
    if whole <= 0:
        return 0.0
    return float(np.sqrt(max(0.0, own + whole - 2 * both) / whole))


def _solve(gram: Floats, right: Floats) -> Floats:
    """Return the least-squares solution of least norm; `gram` may be singular."""
    return np.asarray(np.linalg.lstsq(gram, right, rcond=1e-12)[0])
