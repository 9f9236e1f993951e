"""FedTGP's trainable global prototypes: a small network on the server, and its training.

    T = W_2 relu(W_1 e + b_1) + b_2         for each class's trainable embedding e, all of length D

Gradients are written out, in double precision; they are those of

    L = CE(-(||p_i - T_k|| + 1[k = c_i] margin)_k, c_i), mean over a batch of client prototypes p_i.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import cdist
from scipy.special import softmax

from models.prototypes.tables import Mask, Table, nearest_distances

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Generator:
    """The network's numbers.

    Attributes
    ----------
    embedding : ndarray, shape (C, D)
    weight_1, weight_2 : ndarray, shape (D, D)
    bias_1, bias_2 : ndarray, shape (D,)
    """

    embedding: Array
    weight_1: Array
    bias_1: Array
    weight_2: Array
    bias_2: Array

    @classmethod
    def start(cls, classes: int, features: int, generator: np.random.Generator) -> Self:
        """Draw it: embeddings N(0, 1), layers uniform within 1 / sqrt(D)."""
        bound = 1 / np.sqrt(features)
        square, row = (features, features), (features,)
        layers = (generator.uniform(-bound, bound, shape) for shape in (square, row, square, row))
        return cls(generator.standard_normal((classes, features)), *layers)

    @classmethod
    def of(cls, arrays: Mapping[str, Table], shape: tuple[int, int]) -> Self:
        """Read `arrays`'s result back; vectors are given their shapes."""
        classes, features = shape
        shapes = {"embedding": (classes, features), "bias_1": (features,), "bias_2": (features,)}
        return cls(
            **{
                f.name: arrays[f.name]
                .astype(np.float64)
                .reshape(shapes.get(f.name, (features, features)))
                for f in fields(cls)
            }
        )

    def arrays(self) -> dict[str, Array]:
        """Return all numbers by name, as vectors."""
        return {f.name: getattr(self, f.name).reshape(-1) for f in fields(self)}

    def prototypes(self) -> Array:
        """Return T, shape (C, D)."""
        hidden = np.maximum(self.embedding @ self.weight_1.T + self.bias_1, 0.0)
        out: Array = hidden @ self.weight_2.T + self.bias_2
        return out

    def backward(self, by_prototypes: Array) -> Generator:
        """Return the gradient of all numbers from that of T, shape (C, D)."""
        hidden = np.maximum(self.embedding @ self.weight_1.T + self.bias_1, 0.0)
        inner = (by_prototypes @ self.weight_2) * (hidden > 0)
        return Generator(
            inner @ self.weight_1,
            inner.T @ self.embedding,
            inner.sum(axis=0),
            by_prototypes.T @ hidden,
            by_prototypes.sum(axis=0),
        )

    def stepped(self, gradient: Generator, rate: float) -> Generator:
        """Return the network a step down the gradient."""
        moved = {
            f.name: getattr(self, f.name) - rate * getattr(gradient, f.name) for f in fields(self)
        }
        return replace(self, **moved)


def server_loss(
    prototypes: Array, p: Array, classes: npt.NDArray[np.int64], margin: float
) -> tuple[float, Array]:
    """Return L of a batch, and its gradient by T.

    Parameters
    ----------
    prototypes : ndarray, shape (C, D)
        T.
    p : ndarray, shape (n, D)
        Client prototypes.
    classes : ndarray, shape (n,)
    margin : float
    """
    places = np.arange(len(p))
    distances = cdist(p, prototypes)
    logits = -distances
    logits[places, classes] -= margin
    probabilities = softmax(logits, axis=1)
    loss = -float(np.log(np.maximum(probabilities[places, classes], 1e-300)).mean())
    by_logits = probabilities.copy()
    by_logits[places, classes] -= 1
    # d distance / d T_k = (T_k - p_i) / distance; nothing where they coincide.
    pull = np.where(distances > 0, -by_logits / np.where(distances > 0, distances, 1), 0) / len(p)
    gradient: Array = pull.sum(axis=0)[:, None] * prototypes - pull.T @ p
    return loss, gradient


def adaptive_margin(means: Table, present: Mask, largest: float) -> float:
    """Return min(rho, tau): rho is the largest distance of a class's mean to its nearest other one.

    Parameters
    ----------
    means : ndarray, shape (C, D)
        Of the clients' prototypes.
    present : ndarray of bool, shape (C,)
    largest : float
        tau; also the margin where there is only one class.
    """
    return min(float(nearest_distances(means[present]).max(initial=0.0)), largest)


def trained(
    network: Generator,
    p: Array,
    classes: npt.NDArray[np.int64],
    margin: float,
    *,
    epochs: int,
    batch: int,
    rate: float,
    order: np.random.Generator,
) -> tuple[Generator, float]:
    """Train by SGD in fresh orders; return the network and the mean loss of the last epoch."""
    losses: list[float] = []
    for _ in range(epochs):
        rows = order.permutation(len(p))
        losses = []
        for start in range(0, len(p), batch):
            part = rows[start : start + batch]
            loss, gradient = server_loss(network.prototypes(), p[part], classes[part], margin)
            network = network.stepped(network.backward(gradient), rate)
            losses.append(loss)
    return network, float(np.mean(losses)) if losses else 0.0
