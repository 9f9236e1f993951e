"""Clients whose loss is the squared distance to the optimum of their concept; no model, no data."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from models.randomness import derive_generator
from models.schema import NamedArrays, Schema
from models.stacked import unstack
from strategies.base import Strategy
from strategies.rounds.context import RoundContext, Update
from strategies.transport.roster import Client, Node, Roster

SCHEMA = Schema.of(
    {
        "a.lora_A.weight": np.zeros((2, 6), np.float32),
        "a.lora_B.weight": np.zeros((5, 2), np.float32),
        "classifier.weight": np.zeros((3, 4), np.float32),
    },
    {"rank": 2, "alpha": 4.0, "scaling": 2.0, "head": "classifier"},
)
START = NamedArrays(SCHEMA, np.zeros(SCHEMA.size, np.float32))
OPTIMA = 3.0 * np.linalg.qr(np.random.default_rng(5).normal(size=(SCHEMA.size, 4)))[0].T
"""Optima of four concepts, far from one another."""


def first_model() -> NamedArrays:
    """As an adapter begins: A and the head random, B zero."""
    numbers = np.random.default_rng(1).normal(size=SCHEMA.size).astype(np.float32) * 0.1
    start = NamedArrays(SCHEMA, numbers)
    start["a.lora_B.weight"][...] = 0
    return start


def context(
    server_round: int,
    clients: int = 12,
    rounds: int = 10,
    away: tuple[str, ...] = (),
    examples: int = 10,
) -> RoundContext:
    roster = Roster()
    present = [Client(f"c-{i}", 0, examples) for i in range(clients)]
    roster.join(Node(0, "c-0"), [c for c in present if c.id not in away])
    return RoundContext(server_round, rounds, roster, seed=3)


def answer(
    strategy: Strategy,
    client: str,
    concept: int,
    where: RoundContext,
    *,
    rate: float = 0.5,
    noise: float = 0.05,
) -> Update:
    """What a client returns: it chooses, if it may, and moves towards its optimum."""
    told = strategy.instruct(client, where)
    models = unstack(told.arrays)
    losses = [float(np.square(m.vector - OPTIMA[concept]).sum()) for m in models]
    chosen = int(np.argmin(losses))
    start = models[chosen].vector.astype(np.float64)
    if told.config.get("local-epochs"):
        rate = 1 - (1 - rate) ** int(told.config["local-epochs"])
    numbers = start + rate * (OPTIMA[concept] - start)
    numbers += noise * derive_generator(where.round, client).normal(size=numbers.size)
    metrics = {"cluster": float(chosen), "cluster_loss": losses[chosen]}
    arrays = NamedArrays(SCHEMA, numbers.astype(np.float32))
    return Update(client, arrays, 10, metrics if len(models) > 1 else {}, where.round)


def play(strategy: Strategy, concepts: Mapping[str, int], where: RoundContext) -> list[str]:
    """One round over all available clients; returns the cohort."""
    cohort = list(strategy.sample(where))
    part = strategy.begin(where)
    for client in cohort:
        part.add(answer(strategy, client, concepts[client], where))
    strategy.conclude(part, where)
    return cohort


def same_partition(assignment: Mapping[str, int], concepts: Mapping[str, int]) -> bool:
    """Whether clusters and concepts are the same groups of clients."""
    pairs = {(concepts[client], cluster) for client, cluster in assignment.items()}
    return len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})
