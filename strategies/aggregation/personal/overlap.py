"""Who collaborates with whom by the overlap of critical masks (FedCAC, Wu et al., ICCV 2023,
https://arxiv.org/abs/2309.11103).

    o_ij  = 1 - ||m_i - m_j||_1 / (2 ||m_i||_1)
    thr_t = avg + (t + 1) / beta (max - avg)      over all ordered pairs i != j,  t = 0, 1, ...
    C_i   = {i} and all j with o_ij >= thr_t

o_ij is not symmetric where ||m_i|| and ||m_j|| differ; a mask without a bit overlaps with none.
All pairs are one matrix product: ||m_i - m_j||_1 = ||m_i|| + ||m_j|| - 2 m_i . m_j.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from models.payloads.masked import Bits

Float64 = npt.NDArray[np.float64]
Candidates = npt.NDArray[np.bool_]

_BLOCK = 1 << 10  # bytes of each mask at a time; a thousand masks unfold into 32 MB


def overlaps(bits: Bits) -> Float64:
    """Return o_ij, shape (clients, clients).

    Parameters
    ----------
    bits : ndarray of uint8, shape (clients, bytes)
        Masks, eight numbers a byte; bits beyond the last number are 0.
    """
    count = bits.shape[0]
    common = np.zeros((count, count))
    for start in range(0, bits.shape[1], _BLOCK):
        # Sums of at most 8,192 ones: exact in single precision.
        block = np.unpackbits(bits[:, start : start + _BLOCK], axis=1).astype(np.float32)
        common += block @ block.T
    sizes = common.diagonal()
    differing = sizes[:, None] + sizes[None, :] - 2 * common
    own = np.broadcast_to(sizes[:, None], common.shape)
    share = np.divide(differing, 2 * own, out=np.ones_like(common), where=own > 0)
    found: Float64 = 1 - share
    return found


def threshold(overlap: Float64, candidates: Candidates, passed: int, beta: int) -> float:
    """Return thr_t; infinite where there is no pair.

    Parameters
    ----------
    overlap : ndarray, shape (clients, clients)
    candidates : ndarray of bool, shape (clients,)
        Who may be collaborated with: the columns that count.
    passed : int
        t + 1: 1 in the first round.
    beta : int
        From round beta + 1 on nobody collaborates, unless all pairs overlap equally.
    """
    pairs = overlap[_others(candidates)]
    if pairs.size == 0:
        return float("inf")
    average, largest = float(pairs.mean()), float(pairs.max())
    least = average + passed / beta * (largest - average)
    # Rounding alone must not part those who overlap most before it is time.
    return min(least, largest) if passed <= beta else least


def collaborators(overlap: Float64, candidates: Candidates, least: float) -> Candidates:
    """Return C, shape (clients, clients): in row i is True who is in C_i, i itself always."""
    chosen: Candidates = _others(candidates) & (overlap >= least)
    np.fill_diagonal(chosen, True)
    return chosen


def _others(candidates: Candidates) -> Candidates:
    count = candidates.shape[0]
    return np.broadcast_to(candidates, (count, count)) & ~np.eye(count, dtype=bool)
