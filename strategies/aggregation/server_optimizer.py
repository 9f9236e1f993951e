"""Server optimisers of FedOpt (Reddi et al., "Adaptive Federated Optimization", ICLR 2021).

With Delta_t the aggregated update (new minus old model), Algorithm 2 of the paper:

    m_t = beta_1 m_{t-1} + (1 - beta_1) Delta_t
    v_t = v_{t-1} + Delta_t^2                                        FedAdagrad
    v_t = v_{t-1} - (1 - beta_2) Delta_t^2 sign(v_{t-1} - Delta_t^2)   FedYogi
    v_t = beta_2 v_{t-1} + (1 - beta_2) Delta_t^2                      FedAdam
    x_{t+1} = x_t + eta m_t / (sqrt(v_t) + tau)

``sgd`` is FedAvgM (Hsu et al. 2019): m_t = beta_1 m_{t-1} + Delta_t, x_{t+1} = x_t + eta m_t.
There is no bias correction, as in the paper; v starts at tau^2, the least the paper allows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from models.schema import Vector

Optimizer = Literal["sgd", "adam", "yogi", "adagrad"]


@dataclass(frozen=True)
class Moments:
    """First and second moment, each of the model's length, float64."""

    first: npt.NDArray[np.float64]
    second: npt.NDArray[np.float64]

    @classmethod
    def start(cls, size: int, tau: float) -> Moments:
        """Return the moments before the first step."""
        return cls(np.zeros(size), np.full(size, tau**2))


def server_step(
    model: Vector,
    aggregated: Vector,
    moments: Moments,
    optimizer: Optimizer,
    *,
    learning_rate: float,
    beta_1: float,
    beta_2: float,
    tau: float,
) -> tuple[npt.NDArray[np.float64], Moments]:
    """Step from `model` towards `aggregated`; both have shape (size,).

    Returns
    -------
    ndarray, shape (size,)
        The next model.
    Moments
        The state after the step.
    """
    delta = aggregated.astype(np.float64) - model
    if optimizer == "sgd":
        first = beta_1 * moments.first + delta
        return model + learning_rate * first, Moments(first, moments.second)
    first = beta_1 * moments.first + (1 - beta_1) * delta
    square = delta**2
    if optimizer == "adagrad":
        second = moments.second + square
    elif optimizer == "yogi":
        second = moments.second - (1 - beta_2) * square * np.sign(moments.second - square)
    else:
        second = beta_2 * moments.second + (1 - beta_2) * square
    step = learning_rate * first / (np.sqrt(second) + tau)
    return model + step, Moments(first, second)
