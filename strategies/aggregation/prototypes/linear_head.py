"""Training of a linear classifier on the server, on rows that clients sent or drawn from them.

    g(f) = W f + b,    loss = CE(g(f), y), mean over a batch

Gradients are written out, in double precision.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import softmax

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class LinearHead:
    """A classifier's numbers.

    Attributes
    ----------
    weight : ndarray, shape (C, D)
    bias : ndarray, shape (C,)
    """

    weight: Array
    bias: Array

    def gradient(self, f: Array, classes: npt.NDArray[np.int64]) -> LinearHead:
        """Return the gradient of the loss of rows f, shape (n, D), of these classes, shape (n,)."""
        error = softmax(f @ self.weight.T + self.bias, axis=1)
        error[np.arange(len(f)), classes] -= 1
        error /= len(f)
        return LinearHead(error.T @ f, error.sum(axis=0))


def trained(
    head: LinearHead,
    f: Array,
    classes: npt.NDArray[np.int64],
    *,
    epochs: int,
    batch: int,
    rate: float,
    order: np.random.Generator,
    with_bias: bool = True,
) -> LinearHead:
    """Train by SGD, each epoch in a fresh order.

    Parameters
    ----------
    head : LinearHead
    f : ndarray, shape (n, D)
    classes : ndarray, shape (n,)
    epochs, batch : int
    rate : float
    order : numpy.random.Generator
    with_bias : bool
        False for layers without one: it stays as it is.
    """
    for _ in range(epochs):
        rows = order.permutation(len(f))
        for start in range(0, len(f), batch):
            part = rows[start : start + batch]
            step = head.gradient(f[part], classes[part])
            bias = head.bias - rate * step.bias if with_bias else head.bias
            head = LinearHead(head.weight - rate * step.weight, bias)
    return head
