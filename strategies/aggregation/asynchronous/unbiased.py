"""Weights under which asynchronous rounds keep the optimum of the clients' common loss.

Fraboni et al., "A General Theory for Federated Optimization with Asynchronous and Heterogeneous
Clients Updates", JMLR 2023, https://arxiv.org/abs/2206.10189. A client of importance p_i that needs
tau_i seconds takes part the less often the larger tau_i is; d_i makes up for it:

    d_i = ceil(tau_i / Delta_t) p_i         an aggregation every Delta_t seconds (FedFix)
    d_i = (sum_j 1/tau_j) tau_i p_i         an aggregation at every update
    d_i = (sum_j 1/tau_j) tau_i p_i / c     an aggregation at every c updates

In each case d_i / p_i is the mean number of aggregations from one update of client i to its next.
Everybody is taken to train all the time.
"""

from __future__ import annotations

import math


def interval_weight(tau: float, delta_t: float, p: float) -> float:
    """Return d_i of FedFix.

    Parameters
    ----------
    tau, delta_t : float
        Seconds, above 0.
    p : float
        The client's importance.
    """
    # A duration of whole intervals may be rounded to just above them: 1.1 / 0.1.
    return max(1, math.ceil(round(tau / delta_t, 9))) * p


def asynchronous_weight(tau: float, rate: float, p: float, c: int = 1) -> float:
    """Return d_i of an aggregation at every c updates.

    Parameters
    ----------
    tau : float
        Seconds, above 0.
    rate : float
        sum_j 1/tau_j over all clients: updates a second.
    p : float
        The client's importance.
    c : int
        Updates in an aggregation.
    """
    return rate * tau * p / c
