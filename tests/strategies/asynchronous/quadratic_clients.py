"""Clients whose losses are parabolas, on a virtual clock: every optimum is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from models.schema import NamedArrays
from strategies.clock.population import Device, make_population
from strategies.clock.scenario import Scenario
from strategies.clock.virtual_grid import VirtualGrid
from strategies.clock.work import LocalWork
from strategies.participation import make_participation
from strategies.rounds.closing import make_closing
from strategies.rounds.loop import RoundLoop
from strategies.rounds.options import LoopOptions
from strategies.rounds.record import RoundRecord
from strategies.strategy import Strategy
from strategies.transport.client_nodes import ClientNodes
from strategies.transport.exchange import Action, Rejection, Reply, Request
from strategies.transport.roster import Client, Node, Roster
from strategies.transport.screening import Gate

START = NamedArrays.of({"w": np.zeros(1, np.float32)})
RATE = 0.05


class Parabolas(ClientNodes):
    """Client i minimises (w - c_i)^2 / 2 in steps of gradient descent.

    Parameters
    ----------
    centres : sequence of float
        c_i.
    """

    def __init__(self, centres: Sequence[float]) -> None:
        super().__init__(None, START.schema, Gate())  # type: ignore[arg-type]
        self._roster = Roster()
        names = [f"client-{number:02d}" for number in range(len(centres))]
        self._centres = dict(zip(names, centres, strict=True))
        self._roster.join(Node(1, names[0]), [Client(name, 1, 1, 1, {}) for name in names])

    @property
    def roster(self) -> Roster:
        return self._roster

    def now(self) -> float:
        return 0.0

    def refresh(self) -> None:
        """Nobody comes or goes."""

    def exchange(
        self,
        action: Action,
        clients: Sequence[str],
        build: Callable[[str], Request],
        *,
        server_round: int,
        timeout: float,
    ) -> Iterator[Reply | Rejection]:
        self.gate.open_round(server_round)
        for client in clients:
            request = build(client)
            steps = int(request.config.get("local-steps", 1))
            centre = self._centres[client]
            w = centre + (request.arrays.vector - centre) * (1 - RATE) ** steps
            arrays = request.arrays.replace(w) if action == "train" else None
            metrics = {"train_loss": 0.0, "local_steps": float(steps)}
            yield Reply(client, "", arrays, 1, metrics if arrays else {"accuracy": 0, "loss": 0})


def run(
    strategy: Strategy,
    centres: Sequence[float],
    seconds: Sequence[float],
    rounds: int,
    closing: str = "",
    options: Mapping[str, object] | None = None,
) -> tuple[list[float], list[RoundRecord], VirtualGrid]:
    """Train on parabolas; client i needs seconds[i] for a step.

    Returns
    -------
    list of float, list of RoundRecord, VirtualGrid
        w after every round, the records, the clock.
    """
    inner = Parabolas(centres)
    population = make_population("same", {}, seed=3)
    took = dict(zip(inner.roster.ids, seconds, strict=True))
    population._draw = lambda client: Device(1 / took[client.id])  # type: ignore[method-assign]
    always = make_participation("always", {}, seed=3)
    grid = VirtualGrid(inner, Scenario(population, always, LocalWork(local_steps=1)))
    rule = make_closing(closing or strategy.own_closing, strategy, options or {})
    loop = RoundLoop(
        strategy,
        grid,
        LoopOptions(num_rounds=rounds, evaluate_every=0),
        participation=grid.presence,
        closing=rule,
    )
    loop.start(START)
    path, records = [], []
    for record in loop.rounds():
        records.append(record)
        path.append(float(strategy.model.vector[0]))
    return path, records, grid
