"""The accuracy that local and global fairness leave: AGLFOP of Hamman and Dutta, "Demystifying
Local and Global Fairness Trade-offs in Federated Learning Using Partial Information Decomposition",
ICLR 2024, https://arxiv.org/abs/2307.11333

A binary classifier is, for what is asked here, its rates x_{szy} = P(Y^ = 1 | S = s, Z = z, Y = y),
with S the client, Z the group and Y the class, whose shares p(s, z, y) are what they are:

    maximise    P(Y^ = Y)
    subject to  I(Z; Y^) <= eps_g,  I(Z; Y^|S) <= eps_l      (bits)

Both limits are convex: each is a sum of relative entropies of what is linear in x. No classifier at
all does better. With `derived` only those count that flip a given model's answers by chance, each
client and group by rates of its own (Hardt et al., NeurIPS 2016, https://arxiv.org/abs/1610.02413):

    x_{szy} = a_sz x0_{szy} + b_sz (1 - x0_{szy}),   0 <= a, b <= 1

which is the parallelogram between (0, 0), (1, 1), the model's point in the ROC plane and its mirror
image. The paper's code writes it as eight inequalities for two clients or groups, and two of them,
those along the lower edge from the origin, have tpr_1 / tpr_1 where tpr_1 / fpr_1 belongs, which
only asks for tpr >= fpr. Written with a and b no slope is needed, so neither slip nor division by
zero can happen. That code also starts a general optimiser from a random point; this is solved as
the convex programme that it is, with cvxpy (extra ``fairness``).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from models.errors import BouquetError

_LEAST = 1e-7  # bits; what is below counts as none

Table = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Point:
    """The best accuracy in [0, 1] under two limits in bits; None = no limit."""

    global_limit: float | None
    local_limit: float | None
    accuracy: float


class Frontier:
    """The programme for one federation, compiled once and solved for any limits.

    Parameters
    ----------
    counts : ndarray, shape (clients, groups, 2, 2)
        Examples by client, group, class and what the model says.
    derived : bool
        Only classifiers that are derived from that model.

    Raises
    ------
    BouquetError
        cvxpy is not installed.
    """

    def __init__(self, counts: npt.NDArray[np.integer], derived: bool = False) -> None:
        self._cp = cp = _cvxpy()
        share: Table = counts.sum(axis=3) / counts.sum()  # p(s, z, y)
        s, z = np.nonzero(share.sum(axis=2))
        mass = share[s, z]
        if derived:
            said = np.maximum(counts.sum(axis=3), 1)[s, z]
            base = counts[s, z, :, 1] / said
            a, b = (cp.Variable((len(s), 1), bounds=[0, 1]) for _ in range(2))
            x = cp.multiply(a, base) + cp.multiply(b, 1 - base)
        else:
            x = cp.Variable(mass.shape, bounds=[0, 1])
        yes = cp.sum(cp.multiply(mass, x), axis=1)  # p(s, z, Y^ = 1)
        answers = [yes, mass.sum(axis=1) - yes]
        in_group = (np.arange(share.shape[1])[:, None] == z).astype(float)
        in_client = (np.arange(share.shape[0])[:, None] == s).astype(float)
        of_cell = mass.sum(axis=1)
        of_group, of_client = in_group @ of_cell, in_client @ of_cell
        within = of_cell / of_client[s]  # p(z | s)
        informed = [(in_group @ p, of_group * cp.sum(p)) for p in answers]
        locally = [(p, cp.multiply(within, (in_client @ p)[s])) for p in answers]
        self._about = {"global": informed, "local": locally}
        self._wrong = cp.sum(cp.multiply(mass[:, 0], x[:, 0])) + cp.sum(
            cp.multiply(mass[:, 1], 1 - x[:, 1])
        )
        self._limits = {kind: cp.Parameter(nonneg=True) for kind in self._about}
        self._problems: dict[tuple[bool | None, ...], Any] = {}

    def point(self, global_limit: float | None, local_limit: float | None) -> Point:
        """Return the best accuracy under limits in bits, of at least 0; None is no limit.

        Raises
        ------
        BouquetError
            The solver gave up.
        """
        limits = {"global": global_limit, "local": local_limit}
        for kind, limit in limits.items():
            self._limits[kind].value = limit or 0.0
        problem = self._problem({k: None if v is None else v > _LEAST for k, v in limits.items()})
        found = self._solved(problem)
        if found is None:
            raise BouquetError(f"the accuracy-fairness frontier: no solution, {problem.status}")
        return Point(global_limit, local_limit, 1.0 - found)

    def _problem(self, limited: Mapping[str, bool | None]) -> Any:
        """Return the programme with some limits: True one in bits, False independence, None none.

        Independence is linear; as a limit of 0 bits its set would have no inside to walk through.
        """
        cp, key = self._cp, tuple(limited.values())
        if key not in self._problems:
            rules = []
            for kind, some in limited.items():
                if some:
                    bits = sum(cp.sum(cp.rel_entr(p, q)) for p, q in self._about[kind]) / np.log(2)
                    rules.append(bits <= self._limits[kind])
                elif some is not None:
                    p, q = self._about[kind][0]
                    rules.append(p == q)
            self._problems[key] = cp.Problem(cp.Minimize(self._wrong), rules)
        return self._problems[key]

    def _solved(self, problem: Any) -> float | None:
        cp = self._cp
        for solver in (cp.CLARABEL, cp.SCS):
            with warnings.catch_warnings():
                # The last digits are missing: far fewer than a picture shows.
                warnings.filterwarnings("ignore", message="Solution may be inaccurate")
                try:
                    problem.solve(solver=solver)
                except cp.SolverError:
                    continue
            if problem.status in (cp.OPTIMAL, cp.OPTIMAL_INACCURATE):
                return float(problem.value)
        return None

    def curve(self, limits: Sequence[float], kind: str) -> list[Point]:
        """Return the best accuracy under each limit.

        Parameters
        ----------
        limits : sequence of float
        kind : {"global", "local", "both"}
            What is limited.
        """
        return [
            self.point(limit if kind != "local" else None, limit if kind != "global" else None)
            for limit in limits
        ]


def _cvxpy() -> Any:
    try:
        import cvxpy
    except ImportError:
        raise BouquetError(
            "the accuracy-fairness frontier needs cvxpy: pip install 'fedbouquet[fairness]'"
        ) from None
    return cvxpy
