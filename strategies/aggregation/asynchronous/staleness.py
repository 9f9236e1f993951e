"""How much less an update counts the older its start is.

Xie et al., "Asynchronous Federated Optimization", 2019, https://arxiv.org/abs/1903.03934. u is the
staleness, the number of aggregations since the client's download:

    s(u) = 1                                       constant
    s(u) = (1 + u)^(-a)                            polynomial
    s(u) = 1 if u <= b, else 1 / (a (u - b) + 1)   hinge

The exponent is negative: with a positive one, as in some public code, older updates count more.
"""

from __future__ import annotations

from typing import Literal

Staleness = Literal["constant", "polynomial", "hinge"]
USUAL_A = {"constant": 0.0, "polynomial": 0.5, "hinge": 10.0}
"""a where nothing is said: as in the paper's experiments."""


def staleness_weight(kind: Staleness, u: int, a: float = 0.0, b: float = 4.0) -> float:
    """Return s(u), in (0, 1].

    Parameters
    ----------
    kind : {"constant", "polynomial", "hinge"}
    u : int
        Aggregations since the download, at least 0.
    a : float
        Above 0; 0 = 0.5 for the polynomial, 10 for the hinge.
    b : float
        Of the hinge: the largest staleness that costs nothing.

    Raises
    ------
    ValueError
        A staleness below 0.
    """
    if u < 0:
        raise ValueError(f"an update cannot be {u} aggregations old")
    a = a or USUAL_A[kind]
    if kind == "polynomial":
        return float((1.0 + u) ** -a)
    if kind == "hinge" and u > b:
        return 1.0 / (a * (u - b) + 1.0)
    return 1.0
