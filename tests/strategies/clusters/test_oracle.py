from __future__ import annotations

import numpy as np
import pytest

from models.errors import ConfigurationError
from models.schema import NamedArrays
from models.time.slots import Slots
from strategies.clusters.oracle import OracleClusters
from strategies.rounds.context import RoundContext, Update
from strategies.transport.roster import Client, Node, Roster


def arrays(value: float) -> NamedArrays:
    return NamedArrays.of({"w": np.full(2, value, np.float32)})


def context(server_round: int, concepts: list[int | None], **more: object) -> RoundContext:
    roster = Roster()
    clients = [Client(f"c-{i}", 0, 10, concept=k) for i, k in enumerate(concepts)]
    roster.join(Node(0, "c-0"), clients)
    return RoundContext(server_round, 9, roster, **more)  # type: ignore[arg-type]


def play(strategy: OracleClusters, where: RoundContext, values: list[float]) -> None:
    aggregation = strategy.begin(where)
    for client, value in zip(strategy.sample(where), values, strict=True):
        aggregation.add(Update(client, arrays(value), 10))
    strategy.conclude(aggregation, where)


def test_each_concept_has_the_mean_of_its_clients() -> None:
    strategy = OracleClusters()
    strategy.initialise(arrays(0))
    play(strategy, context(1, [0, 1, 0, 1]), [1, 10, 3, 30])
    models = [strategy.model_for(f"c-{i}")["w"][0] for i in range(4)]
    assert models == [2, 20, 2, 20]


def test_a_client_that_drifts_takes_the_model_of_its_new_concept() -> None:
    def truth(client: str, slot: int) -> int:
        return int(client == "c-1" or (client == "c-0" and slot == 1))

    strategy = OracleClusters()
    strategy.initialise(arrays(0))
    drifting = {"slots": Slots(every=1), "truth": truth}
    play(strategy, context(1, [None] * 3, **drifting), [1, 10, 3])
    assert strategy.model_for("c-0")["w"][0] == 2
    strategy.sample(context(2, [None] * 3, **drifting))
    assert strategy.model_for("c-0")["w"][0] == 10
    copy = OracleClusters()
    copy.initialise(arrays(0))
    copy.restore(strategy.state())
    copy.sample(context(2, [None] * 3, **drifting))
    assert copy.assignment == strategy.assignment == {"c-0": 1, "c-1": 1, "c-2": 0}


def test_without_a_truth_it_says_what_to_do() -> None:
    strategy = OracleClusters()
    strategy.initialise(arrays(0))
    with pytest.raises(ConfigurationError, match="give partition-args a shift, or a drift"):
        strategy.sample(context(1, [0, None]))
