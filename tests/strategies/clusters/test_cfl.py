"""CFL: when a cluster is split, who goes where, and what is averaged in the same round."""

from __future__ import annotations

import numpy as np
import pytest
from concept_clients import OPTIMA, SCHEMA, START, context, play, same_partition

from models.schema import NamedArrays
from strategies.clusters.cfl import CFL
from strategies.rounds.context import RoundContext, Update

CONCEPTS = {f"c-{i}": i % 4 for i in range(12)}


def started(**options: object) -> CFL:
    strategy = CFL(**options)
    strategy.initialise(START)
    return strategy


def moved(client: str, *change: float, origin: float = 0.0, examples: int = 10) -> Update:
    """An update whose first numbers changed."""
    vector = np.full(SCHEMA.size, origin, np.float32)
    vector[: len(change)] += np.asarray(change, np.float32)
    return Update(client, NamedArrays(SCHEMA, vector), examples)


def step(strategy: CFL, where: RoundContext, updates: list[Update]) -> None:
    part = strategy.begin(where)
    for item in updates:
        part.add(item)
    strategy.conclude(part, where)


def first_numbers(strategy: CFL, client: str) -> list[float]:
    return strategy.model_for(client).vector[:2].astype(float).round(6).tolist()


# Mean (0, 0.1), largest norm 2.0025: at rest, and apart.
PULLING_APART = [
    moved("c-0", 2.0, 0.1),
    moved("c-1", -2.0, 0.1),
    moved("c-2", 1.0, 0.1, examples=90),
    moved("c-3", -1.0, 0.1),
]


def test_a_split_and_the_mean_in_each_part_in_the_same_round() -> None:
    strategy = started(min_round=0)
    step(strategy, context(1, clients=4), PULLING_APART)
    assert strategy.assignment == {"c-0": 0, "c-1": 1, "c-2": 0, "c-3": 1}
    # Unweighted: (2 + 1)/2 and (-2 - 1)/2.
    assert [first_numbers(strategy, f"c-{i}") for i in (0, 1)] == [[1.5, 0.1], [-1.5, 0.1]]
    figures = strategy.figures()
    assert figures["norm_mean/cluster-0"] == pytest.approx(0.1)
    assert figures["norm_largest/cluster-0"] == pytest.approx(np.hypot(2, 0.1))
    assert (figures["clusters"], figures["moves"]) == (2.0, 2.0)


def test_by_examples() -> None:
    strategy = started(min_round=0, weights="examples")
    step(strategy, context(1, clients=4), PULLING_APART)
    assert first_numbers(strategy, "c-0") == [1.1, 0.1]


@pytest.mark.parametrize(
    ("options", "server_round", "clients"),
    [
        ({"min_round": 20}, 20, 4),  # round > 20
        ({"min_round": 0, "eps1": 0.1}, 1, 4),  # the mean is not below 0.1
        ({"min_round": 0, "eps2": 2.1}, 1, 4),  # nobody moved further than 2.1
        ({"min_round": 0}, 1, 2),  # |c| > 2
    ],
)
def test_each_criterion_can_prevent_a_split(
    options: dict[str, float], server_round: int, clients: int
) -> None:
    strategy = started(**options)
    step(strategy, context(server_round, clients=clients), PULLING_APART[:clients])
    assert set(strategy.assignment.values()) == {0}
    mean = np.mean([u.arrays.vector[0] for u in PULLING_APART[:clients]])
    assert first_numbers(strategy, "c-0") == [pytest.approx(mean), pytest.approx(0.1)]


def test_the_default_splits_in_round_21_with_the_papers_eps() -> None:
    strategy = started()
    step(strategy, context(21, clients=4), PULLING_APART)
    assert len(set(strategy.assignment.values())) == 2
    near = started()
    weak = [moved(u.client, *(0.79 * u.arrays.vector[:2])) for u in PULLING_APART]
    step(near, context(21, clients=4), weak)  # the largest is 1.58, not above 1.6
    assert set(near.assignment.values()) == {0}


def test_a_split_needs_the_whole_cluster() -> None:
    strategy = started(min_round=1)
    step(strategy, context(1, clients=5), [*PULLING_APART, moved("c-4", 0.0, 0.1)])
    step(strategy, context(2, clients=5), PULLING_APART)
    assert set(strategy.assignment.values()) == {0}


def test_one_that_was_absent_at_a_split_passes_it_when_it_comes() -> None:
    strategy = started(min_round=1, participation=0.5)
    step(strategy, context(1, clients=5), [*PULLING_APART, moved("c-4", 0.0, 0.1)])
    origin = strategy.clusters[0].arrays.vector.copy()
    again = [moved(u.client, *(u.arrays.vector[:2])) for u in PULLING_APART]
    again = [Update(u.client, u.arrays.replace(u.arrays.vector + origin), 10) for u in again]
    step(strategy, context(2, clients=5), again)
    assert strategy.assignment == {"c-0": 0, "c-1": 1, "c-2": 0, "c-3": 1}
    # It is sent the model that was split, and counts nowhere this time.
    sent = strategy.instruct("c-4", context(3, clients=5)).arrays
    np.testing.assert_array_equal(sent.vector, origin)
    before = first_numbers(strategy, "c-1")
    change = np.zeros(SCHEMA.size, np.float32)
    change[:2] = (-3.0, 1.0)
    step(strategy, context(3, clients=5), [Update("c-4", sent.replace(origin + change), 10)])
    assert strategy.assignment["c-4"] == 1
    assert first_numbers(strategy, "c-1") == before
    sent = strategy.instruct("c-4", context(4, clients=5)).arrays
    np.testing.assert_array_equal(sent.vector, strategy.clusters[1].arrays.vector)


def test_parts_of_a_part_are_named_by_client_not_by_row() -> None:
    """The second split is inside a cluster whose rows are not the first ones."""
    strategy = started(min_round=0, eps1=0.5, eps2=1.0)
    ups = ("c-1", "c-4", "c-6", "c-7")
    downs = ("c-0", "c-2", "c-3", "c-5")
    first = [moved(c, 2.0 if c in ups else -2.0) for c in CONCEPTS if c in ups + downs]
    step(strategy, context(1, clients=8), first)
    top = strategy.assignment["c-1"]
    assert {c for c, k in strategy.assignment.items() if k == top} == set(ups)
    level = float(strategy.clusters[top].arrays.vector[0])
    second = []
    for client in sorted(ups + downs):
        if client in downs:  # at rest: no further split here
            second.append(moved(client, -2.0))
        else:
            second.append(moved(client, level, 2.0 if client in ("c-4", "c-7") else -2.0))
    step(strategy, context(2, clients=8), second)
    groups = {k: sorted(c for c, n in strategy.assignment.items() if n == k) for k in range(3)}
    assert sorted(groups.values()) == [["c-0", "c-2", "c-3", "c-5"], ["c-1", "c-6"], ["c-4", "c-7"]]


def test_relative_criteria_have_no_scale() -> None:
    for scale in (1e-3, 1.0, 1e3):
        strategy = started(min_round=0, criteria="relative")
        updates = [moved(u.client, *(scale * u.arrays.vector[:2])) for u in PULLING_APART]
        step(strategy, context(1, clients=4), updates)
        assert len(set(strategy.assignment.values())) == 2
        # Norms far below those seen before mean that it is over, not that clients disagree.
        strategy = started(min_round=1, criteria="relative")
        step(strategy, context(1, clients=4), updates)
        origin = strategy.clusters[0].arrays.vector
        small = [
            Update(u.client, u.arrays.replace(origin + 0.04 * u.arrays.vector), 10) for u in updates
        ]
        step(strategy, context(2, clients=4), small)
        assert set(strategy.assignment.values()) == {0}


def test_like_clients_whose_updates_are_noise_stay_together() -> None:
    """At rest the mean of noise is small: the norms alone would split."""
    for seed in range(5):
        generator = np.random.default_rng(seed)
        updates = [
            Update(f"c-{i}", START.replace(generator.normal(size=SCHEMA.size)), 10)
            for i in range(12)
        ]
        strategy = started(min_round=0, criteria="relative")
        step(strategy, context(1), updates)
        norms = strategy.figures()
        assert norms["norm_mean/cluster-0"] < 0.5 * norms["norm_largest/cluster-0"]
        assert set(strategy.assignment.values()) == {0}


def test_known_concepts_are_found_and_a_late_joiner_goes_down_the_tree() -> None:
    strategy = started(min_round=2, criteria="relative")
    for number in range(1, 12):
        play(strategy, CONCEPTS, context(number, rounds=20, away=("c-11",)))
    known = {c: k for c, k in CONCEPTS.items() if c != "c-11"}
    assert same_partition(strategy.assignment, known)
    numbers = set(strategy.assignment.values())
    for number in range(12, 16):
        play(strategy, CONCEPTS, context(number, rounds=20))
    assert same_partition(strategy.assignment, CONCEPTS)
    assert set(strategy.assignment.values()) == numbers
    for client, concept in CONCEPTS.items():
        assert np.linalg.norm(strategy.model_for(client).vector - OPTIMA[concept]) < 0.3
    drawn = strategy.drawing()
    assert drawn["clients"] == list(CONCEPTS)
    assert np.shape(drawn["similarity"]) == (12, 12)
    assert "linkage" not in drawn


@pytest.mark.parametrize("at", [1, 3, 5, 12])
def test_a_resumed_run_splits_alike(at: int) -> None:
    def fresh() -> CFL:
        return started(min_round=2, criteria="relative", participation=0.6)

    def away(number: int) -> tuple[str, ...]:
        return ("c-11",) if number % 3 else ("c-1", "c-2")

    whole, broken = fresh(), fresh()
    for number in range(1, 16):
        play(whole, CONCEPTS, context(number, rounds=20, away=away(number)))
    for number in range(1, at + 1):
        play(broken, CONCEPTS, context(number, rounds=20, away=away(number)))
    again = fresh()
    again.restore(broken.state())
    assert again.drawing() == broken.drawing()
    for number in range(at + 1, 16):
        play(again, CONCEPTS, context(number, rounds=20, away=away(number)))
    assert again.assignment == whole.assignment
    for client in CONCEPTS:
        np.testing.assert_array_equal(
            again.model_for(client).vector, whole.model_for(client).vector
        )
