"""A federation of five clients in numbers alone: rounds of any server half in milliseconds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from fedbouquet.testing.jumps import lent
from models.payloads.masked import is_masked, masked, numbers_schema
from models.schema import NamedArrays, Schema, Vector
from strategies.base import Strategy
from strategies.rounds.context import RoundContext, Update
from strategies.transport.roster import Client, Node, Roster

Maker = Callable[[], Strategy]
CLIENTS = 5
SCHEMA = Schema.of(
    {
        "a.lora_A.weight": np.zeros((2, 4), np.float32),
        "a.lora_B.weight": np.zeros((3, 2), np.float32),
        "classifier.weight": np.zeros((3, 3), np.float32),
        "f.fairlora_S": np.zeros((2, 4), np.float32),
        "f.fairlora_U": np.zeros((5, 4), np.float32),
        "f.fairlora_V": np.zeros((4, 3), np.float32),
    },
    {"rank": 2, "alpha": 4.0, "scaling": 2.0, "head": "classifier"},
)


def round_context(server_round: int = 1, clients: int = CLIENTS) -> RoundContext:
    """Return a round as a strategy sees it; client c-k has 10 + k examples."""
    roster = Roster()
    known = [Client(f"c-{k}", 0, 10 + k, concept=k % 2) for k in range(clients)]
    roster.join(Node(0, "c-0"), known)
    return RoundContext(server_round, 9, roster)


def update(client: int, seed: int = 0, weight: int | None = None) -> Update:
    """Return client c-`client`'s update: random numbers, the same for the same seed.

    Parameters
    ----------
    client : int
    seed : int
    weight : int, optional
        Its number of examples; 10 + `client` by default.
    """
    numbers = np.random.default_rng([client, seed]).normal(size=SCHEMA.size)
    arrays = NamedArrays(SCHEMA, numbers.astype(np.float32))
    examples = 10 + client if weight is None else weight
    groups = {"group_examples": [examples // 3, examples - examples // 3]}
    return Update(f"c-{client}", arrays, examples, notes=groups)


def started(make: Maker, folder: Path | None = None) -> Strategy:
    """Return the strategy with its first model; what it keeps on disk goes into the folder."""
    strategy = lent(make(), SCHEMA)
    if folder is not None:
        strategy.keep_in(folder)
    strategy.initialise(update(99).arrays)
    return strategy


def asked_for(strategy: Strategy, item: Update, where: RoundContext) -> Update:
    """Cut an update to what the strategy asked the client for.

    What is no part of an adapter is filled with its numbers, made positive.
    """
    told = strategy.instruct(item.client, where)
    return replace(item, arrays=cut(item.arrays, told.reply or told.arrays.schema))


def cut(own: NamedArrays, wanted: Schema) -> NamedArrays:
    """Return arrays of the wanted schema, filled with the numbers of an adapter's."""
    if is_masked(wanted):
        numbers = own.only(numbers_schema(wanted))
        return masked(numbers, numbers.vector > 0)
    parts = [
        own[s.key].reshape(-1) if s.key in own else np.abs(np.resize(own.vector, s.size))
        for s in wanted.arrays
    ]
    return NamedArrays(wanted, np.concatenate(parts))


def step(
    strategy: Strategy, streams: Sequence[Sequence[Update]], server_round: int = 1
) -> list[Update]:
    """Do one round; each inner sequence is one node's stream of updates.

    Returns
    -------
    list of Update
        What the strategy was given: each update cut to what it had asked for.
    """
    where = round_context(server_round)
    parts, given = [], []
    for stream in streams:
        part = strategy.begin(where)
        for item in stream:
            given.append(asked_for(strategy, item, where))
            part.add(given[-1])
        parts.append(part)
    for other in parts[1:]:
        parts[0].merge(other)
    strategy.conclude(parts[0], where)
    return given


def models(strategy: Strategy) -> Vector:
    """Return what each client would use now, one row a client."""
    return np.stack([strategy.model_for(f"c-{k}").vector for k in range(CLIENTS)])
