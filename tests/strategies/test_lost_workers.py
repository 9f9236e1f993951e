"""F15: a simulation's worker dies, the pool goes on handing it out, and no client is lost."""

from __future__ import annotations

import numpy as np
import pytest
from actor_pool import simulated
from flwr.app import Message, RecordDict
from hostile_clients import start
from hypothesis import given, settings
from hypothesis import strategies as st

from strategies.transport.client_grid import ClientGrid
from strategies.transport.exchange import Rejection, Reply, Request
from strategies.transport.polling import Poller


@pytest.fixture(autouse=True, scope="module")
def _no_rest() -> object:
    """Time passes by pulls here, so nobody needs to sleep."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Poller, "rest", lambda self, deadline: None)
        yield


def ask(grid: ClientGrid, server_round: int = 1) -> list[Reply | Rejection]:
    begin = start()
    return list(
        grid.exchange(
            "train",
            list(grid.roster.reachable),
            lambda client: Request(client, begin),
            server_round=server_round,
            timeout=60.0,
        )
    )


def vectors(grid: ClientGrid, server_round: int) -> dict[str, np.ndarray]:
    answers = ask(grid, server_round)
    assert [a for a in answers if isinstance(a, Rejection)] == []
    return {a.client: a.arrays.vector for a in answers if isinstance(a, Reply) and a.arrays}


@settings(max_examples=80, deadline=None)
@given(
    nodes=st.sampled_from([2, 3]),
    workers=st.sampled_from([2, 3, 4]),
    clients=st.sampled_from([4, 9, 24]),
    fatal=st.integers(1, 30),
    ticks=st.lists(st.sampled_from([0, 1, 5, 20]), min_size=7, max_size=7),
)
def test_a_dead_worker_costs_no_reply(
    nodes: int, workers: int, clients: int, fatal: int, ticks: list[int]
) -> None:
    grid, below = simulated(clients, nodes, workers, lambda number: ticks[number % 7], [fatal])
    for server_round in (1, 2):
        found = vectors(grid, server_round)
        assert found.keys() == set(grid.roster.ids)
    # The dead one takes what is under way, not one message after another.
    assert below.lost <= 2 * (clients + 2 * workers)


def test_answers_still_come_in_client_order() -> None:
    grid, below = simulated(24, 2, 2, lambda number: number % 3, [5])
    names = [answer.client for answer in ask(grid)]
    assert below.lost > 0
    for first in (0, 1):
        own = [name for name in names if int(name[2:]) % 2 == first]
        assert own == [f"c-{i}" for i in range(first, 24, 2)]


@pytest.mark.parametrize("fatal", [(1, 2), (3, 10), (2, 20)])
def test_of_four_workers_two_may_die(fatal: tuple[int, int]) -> None:
    grid, below = simulated(24, 2, 4, lambda number: number % 4, fatal)
    for server_round in (1, 2, 3):
        assert len(vectors(grid, server_round)) == 24
    assert len(below.dead) == 2


def test_what_kills_every_worker_is_given_to_two_of_them_only() -> None:
    """One pack is fatal to all; the third and fourth worker live on for the others."""
    grid, below = simulated(24, 2, 4, lambda number: 1, poison="c-7")
    lost = [answer.client for answer in ask(grid) if isinstance(answer, Rejection)]
    assert "c-7" in lost
    assert len(lost) <= 2  # a pack holds two clients here
    assert len(below.dead) == 2


def test_without_a_living_worker_the_exchange_ends_at_once() -> None:
    grid, below = simulated(12, 2, 2, lambda number: 0, range(1, 99))
    answers = ask(grid)
    assert len(below.dead) == 2
    assert [a.code for a in answers if isinstance(a, Rejection)] == ["client-app"] * 12
    assert below.lost < 60


def test_a_single_worker_that_dies_takes_the_round_with_it() -> None:
    grid, below = simulated(6, 2, 1, lambda number: 0, [2])
    answers = ask(grid)
    assert sum(isinstance(a, Reply) for a in answers) == 2
    assert len(answers) == 6
    assert below.lost < 30


def test_the_stand_in_behaves_as_flowers_pool() -> None:
    """Without any retry a dead one of two workers takes most of the messages."""
    _, below = simulated(24, 2, 2, lambda number: 20, [1])
    nodes = list(below.nodes)
    sent = [Message(RecordDict(), nodes[i % 2], "train") for i in range(24)]
    ids = list(below.push_messages(sent))
    came = [m for _ in range(200) for m in below.pull_messages(ids)]
    assert len(came) == 24
    assert sum(m.has_error() for m in came) >= 20
