"""Singular values and vectors of products, without forming the product.

Exact: with A^T = Q_A R_A, B A = (B R_A^T) Q_A^T, so the right singular vectors are Q_A times those
of the thin B R_A^T, and of its triangular factor. Large stacks without cancellation go through Gram
matrices, which cost a third: with G_A = A A^T = L L^T and G_B = B^T B, the leading eigenvectors y
of L^T G_B L give the left vectors B L y. Either way one Rayleigh-Ritz step on B A itself gives
the values. Squared they would lose half the digits only of what is below 1e-7 of the largest.

Randomised: Halko, Martinsson, Tropp, "Finding structure with randomness", SIAM Review 2011,
https://arxiv.org/abs/0909.4061, algorithms 4.4 and 5.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.linalg import eigh

from models.errors import ModelError
from strategies.aggregation.lora.product import Delta, Dense, Product, times, transposed, triangle

Split = Literal["left", "symmetric"]

# Stacks up to this rank are fast enough by QR.
_SMALL = 256
# With ||A A^T|| ||B^T B|| above this multiple of ||B A||^2 factors cancel, and Gram matrices
# would cost more than the 1e-6 that is promised.
_CANCELLATION = 16.0**2


@dataclass(frozen=True)
class Svd:
    """Leading singular triplets; each right vector's largest entry is positive.

    Attributes
    ----------
    u : ndarray, shape (d_out, rank)
        Columns that belong to a zero singular value are zero.
    s : ndarray, shape (rank,)
        Falling.
    vt : ndarray, shape (rank, d_in)
        Orthonormal rows, also where the singular value is zero; zero beyond d_in rows.
    """

    u: Dense
    s: Dense
    vt: Dense

    def cut(self, rank: int) -> Svd:
        """Return the first `rank` triplets: the best approximation of that rank."""
        return Svd(self.u[:, :rank], self.s[:rank], self.vt[:rank])

    def factors(self, scale: float, split: Split = "left") -> tuple[Dense, Dense]:
        """Return A and B such that ``scale * B @ A`` is U S V^T.

        Parameters
        ----------
        scale : float
            s = alpha / r of the adapter that receives them, > 0.
        split : {"left", "symmetric"}
            B = U S / s and A = V^T (FlexLoRA); or both carry the root of S / s.

        Raises
        ------
        ModelError
            A scale that is not above zero.
        """
        if not scale > 0:
            raise ModelError(f"a LoRA scale of {scale}: it must be above zero")
        if split == "left":
            return self.vt, self.u * (self.s / scale)
        root = np.sqrt(self.s / scale)
        return root[:, None] * self.vt, self.u * root


def truncated_svd(delta: Delta, rank: int) -> Svd:
    """Return the `rank` leading triplets, to 1e-6 of the largest value of those of the dense SVD.

    Parameters
    ----------
    delta : Product or ndarray, shape (d_out, d_in)
    rank : int
        May be above the matrix's rank; right vectors are then completed, so that an adapter made
        from them can still learn in every direction.
    """
    if not isinstance(delta, Product):
        basis = _right_vectors(delta, rank)
    else:
        found = _by_gram(delta, rank) if _SMALL < delta.rank <= min(delta.shape) else None
        basis = found if found is not None else _by_qr(delta, rank)
    return _rayleigh_ritz(delta, basis, rank)


def randomised_svd(
    delta: Delta,
    rank: int,
    generator: np.random.Generator,
    *,
    oversampling: int = 10,
    power_iterations: int = 2,
) -> Svd:
    """Return about the `rank` leading triplets, from products with a few random vectors.

    Exact where the matrix's rank is at most ``rank + oversampling``; otherwise the better, the
    faster its singular values fall.

    Parameters
    ----------
    delta : Product or ndarray, shape (d_out, d_in)
    rank : int
    generator : numpy.random.Generator
    oversampling : int
        Further random vectors.
    power_iterations : int
        Each is two more products and sharpens the values' decay.
    """
    across = transposed(delta)
    d_out, d_in = delta.shape
    width = min(rank + oversampling, d_out, d_in)
    q, _ = np.linalg.qr(times(delta, generator.standard_normal((d_in, width))))
    for _ in range(power_iterations):
        back, _ = np.linalg.qr(times(across, q))
        q, _ = np.linalg.qr(times(delta, back))
    basis, _ = np.linalg.qr(times(across, q))
    return _rayleigh_ritz(delta, basis, rank)


def _right_vectors(matrix: Dense, rank: int) -> Dense:
    """Return the leading right singular vectors of a matrix in memory, as columns."""
    if matrix.shape[0] > matrix.shape[1]:
        matrix = triangle(matrix)
    _, _, vt = np.linalg.svd(matrix, full_matrices=False)
    return vt[:rank].T


def _by_qr(product: Product, rank: int) -> Dense:
    if product.rank >= product.shape[1]:
        return _right_vectors(product.b @ product.a, rank)
    q, r = np.linalg.qr(product.a.T)
    return q @ _right_vectors(product.b @ r.T, rank)


def _by_gram(product: Product, rank: int) -> Dense | None:
    """Return the right vectors, or None where Gram matrices are not good enough."""
    a, b = product.a, product.b
    of_a, of_b = a @ a.T, b.T @ b
    size_a = np.linalg.norm(of_a)
    if size_a * np.linalg.norm(of_b) > _CANCELLATION * np.vdot(of_a, of_b):
        return None
    # Stacks of clients that share rows of A are singular; a shift of some roundings mends that.
    of_a[np.diag_indices_from(of_a)] += 8 * np.finfo(np.float64).eps * size_a
    try:
        lower = np.linalg.cholesky(of_a)
    except np.linalg.LinAlgError:
        return None
    core, size = lower.T @ of_b @ lower, product.rank
    _, leading = eigh(core, subset_by_index=(max(0, size - rank), size - 1), overwrite_a=True)
    basis, _ = np.linalg.qr(a.T @ (of_b @ (lower @ leading[:, ::-1])))
    return basis


def _rayleigh_ritz(delta: Delta, basis: Dense, rank: int) -> Svd:
    """Return the triplets of `delta` within the span of `basis`, orthonormal (d_in, k)."""
    u, s, wt = np.linalg.svd(times(delta, basis), full_matrices=False)
    u, s, vt = u[:, :rank], s[:rank], (wt @ basis.T)[:rank]
    u = np.where(s > 0, u, 0.0)
    largest = np.take_along_axis(vt, np.argmax(np.abs(vt), axis=1)[:, None], axis=1)
    sign = np.where(largest < 0, -1.0, 1.0)
    u, vt = u * sign[:, 0], vt * sign
    missing = rank - s.shape[0]
    if missing:
        u = np.pad(u, ((0, 0), (0, missing)))
        s = np.pad(s, (0, missing))
        vt = np.concatenate([vt, _completion(vt, missing)])
    return Svd(u, s, vt)


def _completion(rows: Dense, count: int) -> Dense:
    """Return `count` rows orthonormal to `rows` and each other; zero where there is no room."""
    done, width = rows.shape
    reflectors, tau = np.linalg.qr(rows.T, mode="raw")
    fresh = np.zeros((count, width))
    room = min(count, width - done)
    fresh[np.arange(room), done + np.arange(room)] = 1.0
    for i in reversed(range(done)):
        v = np.concatenate([np.zeros(i), [1.0], reflectors[i, i + 1 :]])
        fresh -= tau[i] * np.outer(fresh @ v, v)
    return fresh
