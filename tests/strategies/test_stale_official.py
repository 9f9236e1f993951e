"""Several rounds of uneven participation, against numbers from the methods' official programs.

Four clients, seven rounds. The models were computed with the published implementations: FedStale's
history and its estimate of participation, and FedAU's weights, FedVARP and MIFA.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from models.schema import NamedArrays
from strategies.base import Strategy
from strategies.rounds.context import RoundContext, Update
from strategies.stale.fedau import FedAU
from strategies.stale.fedstale import FedStale
from strategies.stale.fedvarp import FedVARP
from strategies.stale.mifa import Mifa
from strategies.transport.roster import Client, Node, Roster

EXAMPLES = (40, 10, 30, 20)
THERE = (
    (1, 1, 0, 1),
    (1, 1, 0, 0),
    (1, 0, 1, 1),
    (1, 0, 0, 0),
    (1, 1, 0, 0),
    (1, 1, 1, 1),
    (1, 0, 0, 0),
)
DELTAS = np.array(
    [
        [[-0.98, -0.17], [-1.29, 0.02], [-0.04, -0.3], [-1.05, -0.4]],
        [[-1.09, -1.36], [0.22, -1.11], [1.17, 0.72], [-2.0, 0.27]],
        [[-1.1, 0.03], [0.04, -1.99], [-0.23, -0.26], [0.96, -1.18]],
        [[0.74, -1.1], [-0.33, -0.84], [1.45, 0.57], [2.43, 0.64]],
        [[0.84, 0.84], [-0.61, -0.07], [1.35, -0.4], [0.19, -0.02]],
        [[0.61, -0.36], [-0.15, 0.24], [0.1, -0.86], [0.9, -1.3]],
        [[-1.2, -1.28], [0.97, -0.36], [-0.97, -1.14], [0.42, -1.05]],
    ]
)
# For each method, the model after each round: two numbers a line.
EXPECTED: dict[str, tuple[Callable[[], Strategy], str]] = {
    "fedstale 0.0": (
        lambda: FedStale(beta=0.0),
        """
        0.731 0.146
        1.145 0.801
        1.462 1.103
        1.166 1.543
        0.891 1.214
        0.312 2.482
        0.792 2.994
        """,
    ),
    "fedstale 0.3": (
        lambda: FedStale(beta=0.3),
        """
        0.731 0.146
        1.208 0.825
        1.5184 1.1603
        1.1789 1.7278
        0.867 1.493
        0.2632 2.6774
        0.6847 3.3376
        """,
    ),
    "fedstale 1.0": (
        lambda: FedStale(beta=1.0),
        """
        0.731 0.146
        1.355 0.881
        1.65 1.294
        1.209 2.159
        0.811 2.144
        0.149333 3.133333
        0.434333 4.139333
        """,
    ),
    "fedvarp": (
        FedVARP,
        """
        1.106667 0.183333
        1.236667 1.480833
        1.126667 2.081667
        -0.675833 3.841667
        -0.733333 3.264167
        -1.098333 3.834167
        0.346667 5.324167
        """,
    ),
    "mifa": (
        Mifa,
        """
        0.83 0.1375
        1.31 0.855
        1.3475 1.485
        0.925 2.3975
        0.685 2.565
        0.32 3.135
        0.4075 3.935
        """,
    ),
    "fedau": (
        lambda: FedAU(cutoff=0),
        """
        0.83 0.1375
        1.0475 0.755
        1.14 1.1075
        0.955 1.3825
        0.8975 1.19
        0.395 2.3125
        0.695 2.6325
        """,
    ),
    "fedau cut-off": (
        lambda: FedAU(cutoff=2),
        """
        0.83 0.1375
        1.0475 0.755
        1.1975 1.1725
        1.0125 1.4475
        1.005833 1.260833
        0.483542 2.175833
        0.783542 2.495833
        """,
    ),
}


@pytest.mark.parametrize(("make", "models"), EXPECTED.values(), ids=EXPECTED.keys())
def test_seven_rounds(make: Callable[[], Strategy], models: str) -> None:
    roster = Roster()
    roster.join(Node(0, "c-0"), [Client(f"c-{i}", 0, n) for i, n in enumerate(EXAMPLES)])
    strategy = make()
    strategy.initialise(NamedArrays.of({"w": np.zeros(2, np.float64)}))
    found = []
    for t, there in enumerate(THERE):
        where = RoundContext(t + 1, 7, roster)
        aggregation = strategy.begin(where)
        for i in np.flatnonzero(there):
            arrays = strategy.arrays.replace(strategy.arrays.vector - DELTAS[t, i])
            aggregation.add(Update(f"c-{i}", arrays, EXAMPLES[i]))
        strategy.conclude(aggregation, where)
        found.append(strategy.arrays.vector.copy())
    expected = np.array(models.split(), np.float64).reshape(7, 2)
    np.testing.assert_allclose(found, expected, atol=3e-6)
