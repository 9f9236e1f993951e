"""FedStale, FedVARP, MIFA, FedAU and inverse-probability FedAvg: exact steps, invariants, state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import ConfigurationError
from models.schema import NamedArrays, Schema
from strategies.base import Strategy
from strategies.fedavg import FedAvg
from strategies.fedopt import FedOpt
from strategies.local import Local
from strategies.rounds.context import RoundContext, Update
from strategies.stale.fedau import FedAU
from strategies.stale.fedstale import FedStale
from strategies.stale.fedvarp import FedVARP
from strategies.stale.intervals import Intervals
from strategies.stale.mifa import Mifa
from strategies.transport.roster import Client, Node, Roster

EXAMPLES = (50, 30, 20)  # alpha = (.5, .3, .2)
PROBABILITIES = (1.0, 0.5, 0.25)
H = {0: (0.5, 0.5), 1: (-1.0, 1.0), 2: (2.0, -2.0)}
DELTA = {0: (1.0, 0.0), 1: (0.0, 2.0)}


class Known:
    """Everybody's probability, as a scenario would know it."""

    everybody = False

    def __init__(self, probabilities: Sequence[float]) -> None:
        self._known = {f"c-{i}": p for i, p in enumerate(probabilities)}

    def available(self, server_round: int, clients: Sequence[Client]) -> frozenset[str]:
        return frozenset(client.id for client in clients)

    def drops_out(self, server_round: int, client: str) -> bool:
        return False

    def probability(self, client: Client) -> float:
        return self._known[client.id]


def context(
    server_round: int,
    examples: Sequence[int | None] = EXAMPLES,
    probabilities: Sequence[float] | None = None,
) -> RoundContext:
    roster = Roster()
    roster.join(Node(0, "c-0"), [Client(f"c-{i}", 0, n) for i, n in enumerate(examples)])
    if probabilities is None:
        return RoundContext(server_round, 99, roster)
    return RoundContext(server_round, 99, roster, participation=Known(probabilities))


def start(strategy: Strategy, size: int = 2) -> Strategy:
    strategy.initialise(NamedArrays.of({"w": np.zeros(size, np.float32)}))
    return strategy


def take(strategy: Strategy, deltas: Mapping[int, Sequence[float]], where: RoundContext) -> None:
    """One round: client i answers w - Delta_i."""
    aggregation = strategy.begin(where)
    for client, delta in deltas.items():
        told = strategy.instruct(f"c-{client}", where)
        vector = told.arrays.vector - np.float32(delta)
        examples = where.roster[f"c-{client}"].examples or 10
        aggregation.add(Update(f"c-{client}", told.arrays.replace(vector), examples))
    strategy.conclude(aggregation, where)


def step_of(strategy: Strategy, deltas: Mapping[int, Sequence[float]], where: RoundContext) -> list:
    before = strategy.arrays.vector.copy()
    take(strategy, deltas, where)
    return (before - strategy.arrays.vector).tolist()


@pytest.mark.parametrize(
    ("beta", "expected"),
    [(0, (0.5, 1.2)), (0.25, (0.675, 1.025)), (0.5, (0.85, 0.85)), (1, (1.2, 0.5))],
)
def test_fedstale_takes_the_step_of_equation_1(beta: float, expected: tuple[float, float]) -> None:
    strategy = start(FedStale(beta=beta, probabilities="known"))
    take(strategy, H, context(1, probabilities=PROBABILITIES))  # everybody: h_i = Delta_i
    step = step_of(strategy, DELTA, context(2, probabilities=PROBABILITIES))
    np.testing.assert_allclose(step, expected, atol=1e-6)


def test_fedvarp_original_and_generalised() -> None:
    original = start(FedVARP())
    take(original, H, context(1))
    np.testing.assert_allclose(step_of(original, DELTA, context(2)), (1.25, 1 / 12), atol=1e-6)
    general = start(FedVARP(rule="generalised", probabilities="known"))
    take(general, H, context(1, probabilities=PROBABILITIES))
    step = step_of(general, DELTA, context(2, probabilities=PROBABILITIES))
    np.testing.assert_allclose(step, (1.2, 0.5), atol=1e-6)


def test_mifa_steps_along_the_mean_of_refreshed_memories() -> None:
    strategy = start(Mifa())
    take(strategy, H, context(1))
    step = step_of(strategy, DELTA, context(2))
    np.testing.assert_allclose(step, np.mean([DELTA[0], DELTA[1], H[2]], axis=0), atol=1e-6)


PATTERN = (1, 0, 0, 1, 0, 1, 1, 0, 0, 0, 0, 1)


@pytest.mark.parametrize(
    ("cutoff", "omega"),
    [
        (50, (1, 1, 2, 2, 1.75)),
        (2, (1, 1.5, 4 / 3, 1.5, 11 / 7)),
        (0, (1, 1, 2, 2, 1.75)),
    ],
)
def test_intervals_follow_the_pattern(cutoff: int, omega: Sequence[float]) -> None:
    intervals = Intervals(cutoff)
    found = []
    for server_round, there in enumerate(PATTERN, start=1):
        if there:
            found.append(intervals.weight("c", server_round))
            intervals.took_part(["c"], server_round)
    np.testing.assert_allclose(found, omega)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.booleans(), min_size=1, max_size=40), st.integers(0, 6))
def test_intervals_caught_up_with_equal_intervals_counted_round_by_round(
    pattern: list[bool], cutoff: int
) -> None:
    """Against the algorithm as the paper writes it, one round after the other."""
    lazy, counter, ended = Intervals(cutoff), 0, []
    for server_round, there in enumerate(pattern, start=1):
        if there:
            expected = float(np.mean(ended)) if ended else 1.0
            assert lazy.weight("c", server_round) == pytest.approx(expected)
            lazy.took_part(["c"], server_round)
            ended.append(counter + 1)
            counter = 0
        else:
            counter += 1
            if cutoff and counter >= cutoff:
                ended.append(counter)
                counter = 0


def test_fedau_divides_by_all_clients() -> None:
    strategy = start(FedAU(cutoff=2))
    take(strategy, {0: (1, 0), 1: (0, 1)}, context(1))
    np.testing.assert_allclose(strategy.arrays.vector, (-1 / 3, -1 / 3), atol=1e-7)
    take(strategy, {0: (0, 0)}, context(2))
    take(strategy, {0: (0, 0)}, context(3))
    # Client 1: intervals 1 and, cut off, 2: omega is 1.5; client 2: twice 2 -> cut off once.
    step = step_of(strategy, {1: (0, 4), 2: (1, 0)}, context(4))
    np.testing.assert_allclose(step, (2 / 3, 1.5 * 4 / 3), atol=1e-6)
    weighted = start(FedAU(weighting="examples"))
    step = step_of(weighted, {0: (1, 0), 1: (0, 1)}, context(1))
    np.testing.assert_allclose(step, (0.5, 0.3), atol=1e-6)


def test_inverse_probability_fedavg_is_fedstale_without_memory() -> None:
    plain = start(FedAvg(weights="inverse-probability"))
    stale = start(FedStale(beta=0, probabilities="known"))
    for strategy in (plain, stale):
        take(strategy, H, context(1, probabilities=PROBABILITIES))
    for server_round in (2, 3):
        where = context(server_round, probabilities=PROBABILITIES)
        a, b = step_of(plain, DELTA, where), step_of(stale, DELTA, where)
        np.testing.assert_allclose(a, (0.5, 1.2), atol=1e-6)
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_unknown_probabilities_are_refused_where_they_should_be_known() -> None:
    class Unknown(Known):
        def probability(self, client: Client) -> None:  # type: ignore[override]
            return None

    where = RoundContext(1, 9, context(1).roster, participation=Unknown(()))
    for strategy in (FedStale(probabilities="known"), FedAvg(weights="inverse-probability")):
        with pytest.raises(ConfigurationError, match="how often 'c-0' takes part"):
            take(start(strategy), DELTA, where)


vectors = st.lists(st.floats(-3, 3, width=32), min_size=2, max_size=2)
updates = st.fixed_dictionaries({0: vectors, 1: vectors, 2: vectors})


@settings(deadline=None, max_examples=25)
@given(st.lists(updates, min_size=1, max_size=4), st.sampled_from([0.0, 0.3, 1.0, "auto"]))
def test_with_everybody_always_there_it_is_fedavg_for_any_beta(
    rounds: list[dict[int, list[float]]], beta: float | str
) -> None:
    plain, stale = start(FedAvg()), start(FedStale(beta=beta))
    for server_round, deltas in enumerate(rounds, start=1):
        take(plain, deltas, context(server_round))
        take(stale, deltas, context(server_round))
    np.testing.assert_allclose(stale.arrays.vector, plain.arrays.vector, atol=1e-4)


@pytest.mark.parametrize("there", [(0,), (1,), (2,), (0, 2), (1, 2), (0, 1, 2)])
def test_memories_equal_to_updates_leave_no_variance(there: tuple[int, ...]) -> None:
    """With Delta_i = h_i for all and beta = 1 the step is the full mean, whoever takes part."""
    strategy = start(FedStale(beta=1.0, probabilities="known"))
    take(strategy, H, context(1, probabilities=PROBABILITIES))
    where = context(2, probabilities=PROBABILITIES)
    step = step_of(strategy, {i: H[i] for i in there}, where)
    expected = sum(n / 100 * np.array(H[i]) for i, n in enumerate(EXAMPLES))
    np.testing.assert_allclose(step, expected, atol=1e-6)


def test_beta_auto_minimises_the_variance_that_it_sees() -> None:
    strategy = start(FedStale(beta="auto", probabilities="known", smoothing=0.0))
    take(strategy, H, context(1, probabilities=PROBABILITIES))
    where = context(2, probabilities=PROBABILITIES)
    step = step_of(strategy, DELTA, where)
    # Client 0 is always there and says nothing; client 1: <Delta, h> / ||h||^2 = 2 / 2.
    np.testing.assert_allclose(step, (1.2, 0.5), atol=1e-6)
    # An update against its memory: a negative estimate is clipped to 0.
    step = step_of(strategy, {1: (0.0, -3.0)}, context(3, probabilities=PROBABILITIES))
    np.testing.assert_allclose(step, (0.0, 0.3 / 0.5 * -3), atol=1e-5)


def test_beta_auto_against_the_formula_over_many_rounds() -> None:
    """The estimate is unbiased: over random cohorts it comes near the formula over all clients."""
    rng = np.random.default_rng(0)
    n = rng.integers(10, 100, 30)
    p = rng.uniform(0.2, 0.9, 30)
    h = rng.normal(size=(30, 6)).astype(np.float32)
    delta = (0.4 * h + 0.3 * rng.normal(size=(30, 6))).astype(np.float32)
    weight = (n / n.sum()) ** 2 * (1 - p) / p
    best = (weight * (delta * h).sum(1)).sum() / (weight * (h * h).sum(1)).sum()
    numerator = denominator = 0.0
    for _ in range(4000):
        for i in np.flatnonzero(rng.random(30) < p):
            factor = (n[i] / n.sum()) ** 2 * (1 - p[i]) / p[i] ** 2
            numerator += factor * float(delta[i] @ h[i])
            denominator += factor * float(h[i] @ h[i])
    assert numerator / denominator == pytest.approx(best, rel=0.02)
    one = start(FedStale(beta="auto", probabilities="known", smoothing=0.0), 6)
    examples, known = [int(k) for k in n], [float(k) for k in p]
    take(one, dict(enumerate(h)), context(1, examples, known))
    cohort = np.flatnonzero(rng.random(30) < p)
    blend = one.begin(context(2, examples, known))
    for i in cohort:
        arrays = one.arrays.replace(one.arrays.vector - delta[i])
        blend.add(Update(f"c-{i}", arrays, int(n[i])))
    factor = n[cohort] ** 2 * (1 - p[cohort]) / p[cohort] ** 2
    products = (factor * (delta[cohort] * h[cohort]).sum(1)).sum()
    squares = (factor * (h[cohort] ** 2).sum(1)).sum()
    beta = one.choose_beta(blend, float(n.sum()))
    assert beta == pytest.approx(products / squares, rel=1e-4)


def test_a_failed_attempt_leaves_no_trace() -> None:
    strategy, clean = (start(FedStale(beta=0.7)) for _ in range(2))
    take(strategy, H, context(1))
    take(clean, H, context(1))
    lost = strategy.begin(context(2))  # below the quorum: never concluded
    lost.add(Update("c-2", strategy.arrays.replace(np.float32([9, 9])), 20))
    for other in (strategy, clean):
        take(other, DELTA, context(2))
        take(other, {2: (1, 1)}, context(3))
    np.testing.assert_array_equal(strategy.arrays.vector, clean.arrays.vector)


def test_one_that_leaves_takes_its_share_along() -> None:
    strategy = start(FedStale(beta=1.0))
    take(strategy, H, context(1))
    strategy.forget("c-2", 2)
    step = step_of(strategy, {0: (1.0, 0.0), 1: (0.0, 2.0)}, context(2, EXAMPLES[:2]))
    # Both were there in every round: p = 1, so the memories cancel but for client 2's.
    np.testing.assert_allclose(step, (50 / 80, 60 / 80), atol=1e-6)
    again = step_of(strategy, {0: (0, 0), 1: (0, 0), 2: (1, 1)}, context(3))
    np.testing.assert_allclose(again, (0.2, 0.2), atol=1e-6)


STALE = {
    "fedstale": lambda: FedStale(beta=0.5),
    "fedstale auto": lambda: FedStale(beta="auto"),
    "fedstale float16": lambda: FedStale(beta=0.5, memory_dtype="float16"),
    "fedvarp": FedVARP,
    "mifa": Mifa,
    "fedau": lambda: FedAU(cutoff=3),
    "fedopt > fedstale": lambda: FedOpt(FedStale(), optimizer="adam"),
    "fedstale > fedopt": lambda: FedStale(FedOpt(optimizer="yogi")),
}


@pytest.mark.parametrize("make", STALE.values(), ids=STALE.keys())
@pytest.mark.parametrize("cut", [3, 6])
def test_a_run_taken_up_from_its_state_goes_on_to_the_same_bits(
    make: object, cut: int, tmp_path: Path
) -> None:
    rng = np.random.default_rng(7)
    rounds = [
        {int(i): rng.normal(size=2) for i in np.flatnonzero(rng.random(3) < 0.6)} for _ in range(9)
    ]

    def play(strategy: Strategy, first: int, last: int) -> Strategy:
        for server_round in range(first, last):
            if rounds[server_round]:
                take(strategy, rounds[server_round], context(server_round + 1))
        return strategy

    def fresh(folder: str) -> Strategy:
        strategy = make()  # type: ignore[operator]
        strategy.keep_in(tmp_path / folder)
        return start(strategy)

    whole = play(fresh("whole"), 0, 9)
    broken = play(fresh("broken"), 0, cut)
    saved = broken.state()
    play(broken, cut, cut + 2)  # the crash comes later than the checkpoint
    del broken
    resumed = fresh("broken")
    resumed.restore(saved)
    play(resumed, cut, 9)
    np.testing.assert_array_equal(whole.arrays.vector, resumed.arrays.vector)
    assert whole.state().values == resumed.state().values


def test_the_running_sum_equals_a_recomputation_after_a_thousand_rounds() -> None:
    strategy = start(FedStale(beta=0.3), 8)
    rng = np.random.default_rng(3)
    examples = [int(n) for n in rng.integers(1, 500, 40)]
    last: dict[int, np.ndarray] = {}
    for server_round in range(1, 1001):
        there = np.flatnonzero(rng.random(40) < rng.uniform(0, 0.2))
        if not there.size:
            continue
        deltas = {int(i): rng.normal(size=8).astype(np.float32) for i in there}
        take(strategy, deltas, context(server_round, examples))
        last.update(deltas)
    read = {i: strategy.memory.read(f"c-{i}", 2000) for i in last}
    scratch = sum(examples[i] * kept.vector.astype(np.float64) for i, kept in read.items() if kept)
    np.testing.assert_allclose(strategy.total.vector, scratch, rtol=1e-5, atol=1e-5)
    assert strategy.total.examples == pytest.approx(sum(examples[i] for i in last))


def test_what_does_not_blend_is_refused_by_name() -> None:
    for inner in (Local(), FedAvg(weights="inverse-probability")):
        with pytest.raises(ConfigurationError, match=type(inner).__name__):
            FedStale(inner)


def test_clients_that_declare_nothing_count_as_those_who_answer() -> None:
    """As on a plain Flower grid, where nobody said how many examples there are."""
    strategy = start(FedStale(beta=0.0))
    step = step_of(strategy, {0: (4.0, 0.0), 1: (0.0, 4.0)}, context(1, (None, None, None, None)))
    np.testing.assert_allclose(step, (1.0, 1.0), atol=1e-6)


def test_a_schema_with_integers_is_not_confused() -> None:
    arrays = {"w": np.zeros(2, np.float32), "steps": np.array([3], np.int64)}
    strategy = FedStale(beta=1.0)
    strategy.initialise(NamedArrays.of(arrays))
    assert strategy.arrays.schema == Schema.of(arrays)
    take(strategy, {0: (0, 1, 1)}, context(1))
    assert np.isfinite(strategy.arrays.vector).all()
