"""The LoRA methods through their strategies: the common rank-1 case and the shared properties."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from models.lora.base_change import matrix
from models.lora.factors import with_rank, with_roles
from models.schema import NamedArrays, Schema
from strategies.aggregation.lora.product import deltas_of, dense
from strategies.base import Strategy
from strategies.local import Local
from strategies.lora.cellm import CELLM
from strategies.lora.fedex_lora import FedExLoRA
from strategies.lora.fedit import FedIT
from strategies.lora.fedsa_lora import FedSALoRA
from strategies.lora.ffa_lora import FFALoRA
from strategies.lora.flexlora import FlexLoRA
from strategies.lora.flora import FLoRA
from strategies.lora.hetlora import HetLoRA
from strategies.lora.rolora import RoLoRA
from strategies.rounds.context import RoundContext, Update
from strategies.rounds.gathering import Gathering
from strategies.rounds.record import Ledger
from strategies.transport.exchange import Reply
from strategies.transport.roster import Client, Node, Roster

LAYER = "base_model.model.q"
A, B = f"{LAYER}.lora_A.weight", f"{LAYER}.lora_B.weight"


def adapter(a: object, b: object, scaling: float = 1.0) -> NamedArrays:
    a, b = np.asarray(a, np.float32), np.asarray(b, np.float32)
    facts = {"kind": "lora", "rank": a.shape[0], "alpha": scaling * a.shape[0], "scaling": scaling}
    arrays = {A: a, B: b, "classifier.weight": np.zeros((2, 2), np.float32)}
    return NamedArrays.of(arrays, {**facts, "rslora": False, "dora": False, "head": "classifier"})


ONE, TWO = adapter([[1, 2]], [[1], [0]]), adapter([[3, 0]], [[0], [2]])
EXACT = np.array([[0.5, 1], [3, 0]])


def context(
    server_round: int, clients: int, ranks: Sequence[int | None] | None = None
) -> RoundContext:
    roster = Roster()
    known = ranks or [None] * clients
    roster.join(Node(0, "c-0"), [Client(f"c-{i}", 0, 10, rank=r) for i, r in enumerate(known)])
    return RoundContext(server_round, 9, roster, seed=1)


def effective(strategy: Strategy) -> dict[str, np.ndarray]:
    """What the adapter and the changes of the base add to each layer, together."""
    total = {layer: dense(delta) for layer, delta in deltas_of(strategy.model).items()}
    if strategy.changes is not None:
        for change in strategy.changes.up_to(strategy.base_version):
            for layer, part in change.items():
                total[layer] = total[layer] + matrix(part)
    return total


def play(
    strategy: Strategy,
    updates: Sequence[NamedArrays],
    weights: Sequence[int] | None = None,
    where: RoundContext | None = None,
) -> dict[str, float]:
    """One round over replies; returns its figures."""
    where = where or context(1, len(updates))
    gathering = Gathering(strategy, where)
    for i, arrays in enumerate(updates):
        told = strategy.instruct(f"c-{i}", where)
        wanted = told.reply or told.arrays.schema
        if wanted.facts.get("update") == "delta":
            arrays = NamedArrays(wanted, told.arrays.vector - arrays.vector)
        elif wanted.hash != arrays.schema.hash:
            arrays = arrays.only(wanted)
        examples = weights[i] if weights else 10
        gathering.add(Reply(f"c-{i}", "c-0", arrays, examples, {"train_loss": 0.0}))
    clients = [f"c-{i}" for i in range(len(updates))]
    return dict(gathering.concluded(clients, (), Ledger()).method)


def started(make: Callable[[], Strategy], start: NamedArrays) -> Strategy:
    strategy = make()
    strategy.initialise(start)
    return strategy


START = adapter([[1, 1]], [[0], [0]])


@pytest.mark.parametrize(
    ("make", "expected", "error"),
    [
        (FedIT, [[1, 0.5], [2, 1]], np.sqrt(0.25 + 0.25 + 1 + 1) / np.sqrt(10.25)),
        (FedExLoRA, EXACT, 0.0),
        (FLoRA, EXACT, 0.0),
        (FlexLoRA, [[0.558349, 0.033716], [2.989101, 0.180497]], 0.984788 / np.sqrt(10.25)),
    ],
)
def test_the_common_rank_1_case(
    make: Callable[[], Strategy], expected: object, error: float
) -> None:
    strategy = started(make, START)
    figures = play(strategy, [ONE, TWO])
    np.testing.assert_allclose(effective(strategy)[LAYER], expected, atol=1e-5)
    assert figures["aggregation_error"] == pytest.approx(error, abs=1e-5)
    assert figures[f"aggregation_error/{LAYER}"] == pytest.approx(error, abs=1e-5)


def test_flexlora_may_share_the_singular_values_between_the_factors() -> None:
    left, symmetric = started(FlexLoRA, START), started(lambda: FlexLoRA(split="symmetric"), START)
    play(left, [ONE, TWO])
    play(symmetric, [ONE, TWO])
    np.testing.assert_allclose(effective(symmetric)[LAYER], effective(left)[LAYER], atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(left.arrays[A]), 1, rtol=1e-6)
    sizes = [np.linalg.norm(symmetric.arrays[key]) for key in (A, B)]
    np.testing.assert_allclose(sizes, np.sqrt(3.046341), rtol=1e-6)


def test_hetlora_weighs_by_the_size_of_the_product() -> None:
    strategy = started(HetLoRA, START)
    play(strategy, [ONE, TWO])
    w = np.array([np.sqrt(5), 6]) / (np.sqrt(5) + 6)
    np.testing.assert_allclose(w, [0.271497, 0.728503], atol=1e-6)
    np.testing.assert_allclose(strategy.arrays[A], [w[0] * ONE[A][0] + w[1] * TWO[A][0]], rtol=1e-6)
    np.testing.assert_allclose(strategy.arrays[B], w[0] * ONE[B] + w[1] * TWO[B], rtol=1e-6)


def test_ffa_is_exact_over_the_common_a() -> None:
    strategy = started(FFALoRA, START)
    figures = play(strategy, [ONE, TWO], [1, 3])
    expected = (1 * ONE[B] + 3 * TWO[B]) / 4 @ START[A]
    np.testing.assert_allclose(effective(strategy)[LAYER], expected, rtol=1e-6)
    assert figures["aggregation_error"] < 1e-7
    told = strategy.instruct("c-0", context(2, 2))
    assert list(told.arrays) == [B, "classifier.weight"]


def test_rolora_takes_turns_and_begins_with_b() -> None:
    strategy = started(RoLoRA, START)
    first = play(strategy, [ONE, TWO], where=context(1, 2))
    np.testing.assert_array_equal(strategy.arrays[A], START[A])
    np.testing.assert_allclose(strategy.arrays[B], (ONE[B] + TWO[B]) / 2)
    second = play(strategy, [ONE, TWO], where=context(2, 2))
    np.testing.assert_allclose(strategy.arrays[A], (ONE[A] + TWO[A]) / 2)
    np.testing.assert_allclose(strategy.arrays[B], (ONE[B] + TWO[B]) / 2)
    assert first["aggregation_error"] < 1e-7
    assert second["aggregation_error"] < 1e-7
    reply = strategy.instruct("c-0", context(3, 2)).reply
    assert reply is not None
    assert [spec.key for spec in reply.arrays] == [B, "classifier.weight"]


def test_cellm_at_density_1_with_plain_sgd_is_the_mean() -> None:
    strategy = started(lambda: CELLM(density_down=1.0, density_up=1.0), START)
    play(strategy, [ONE, TWO], [1, 3])
    np.testing.assert_allclose(strategy.arrays.vector, (ONE.vector + 3 * TWO.vector) / 4, rtol=1e-6)


def test_cellm_sends_the_largest_and_steps_on_the_dense_model() -> None:
    start = adapter([[4, -3]], [[1], [2]])  # 8 numbers with the head
    strategy = started(lambda: CELLM(density_down=0.25, density_up=0.25), start)
    told = strategy.instruct("c-0", context(1, 1))
    np.testing.assert_array_equal(told.arrays[A], [[4, -3]])
    np.testing.assert_array_equal(told.arrays[B], [[0], [0]])
    assert told.arrays.schema.facts["sparse"]
    delta = NamedArrays(told.reply or told.arrays.schema, np.float32([1, 0, 0, 0, 0, 0, 0, 0]))
    aggregation = strategy.begin(context(1, 1))
    aggregation.add(Update("c-0", delta, 10))
    strategy.conclude(aggregation, context(1, 1))
    # Off the dense theta, whose other numbers stay.
    np.testing.assert_array_equal(strategy.arrays[A], [[3, -3]])
    np.testing.assert_array_equal(strategy.arrays[B], [[1], [2]])


# ---- the shared properties -------------------------------------------------------------------

SHAPE = (5, 7)  # (d_out, d_in)
AVERAGING: dict[str, Callable[[], Strategy]] = {
    "fedit": FedIT,
    "fedex-lora": FedExLoRA,
    "fedex-lora weighted": lambda: FedExLoRA(weights="examples"),
    "flora": FLoRA,
    "flexlora": FlexLoRA,
    "flexlora symmetric": lambda: FlexLoRA(split="symmetric"),
    "hetlora": lambda: HetLoRA(gamma=1.0),
}
MIXED: dict[str, Callable[[], Strategy]] = {
    "flora": FLoRA,
    "flora proportional": lambda: FLoRA(alpha="proportional"),
    "flexlora": FlexLoRA,
    "flexlora symmetric": lambda: FlexLoRA(split="symmetric"),
    "hetlora": lambda: HetLoRA(gamma=1.0),
}
each = pytest.mark.parametrize("make", AVERAGING.values(), ids=AVERAGING.keys())


def drawn(schema: Schema, seed: int) -> NamedArrays:
    rng = np.random.default_rng(seed)
    return NamedArrays(schema, rng.normal(size=schema.size).astype(np.float32))


def start(rank: int) -> NamedArrays:
    return adapter(
        np.random.default_rng(0).normal(size=(rank, SHAPE[1])), np.zeros((SHAPE[0], rank)), 2.0
    )


def product(arrays: NamedArrays) -> np.ndarray:
    return dense(deltas_of(arrays)[LAYER])


@each
def test_one_client_returns_its_own_product(make: Callable[[], Strategy]) -> None:
    strategy = started(make, start(2))
    mine = drawn(start(2).schema, 3)
    play(strategy, [mine])
    np.testing.assert_allclose(effective(strategy)[LAYER], product(mine), atol=2e-5)
    np.testing.assert_allclose(strategy.model["classifier.weight"], mine["classifier.weight"])


@each
def test_identical_clients_return_their_product(make: Callable[[], Strategy]) -> None:
    strategy = started(make, start(2))
    mine = drawn(start(2).schema, 3)
    play(strategy, [mine] * 4, [3, 1, 5, 2])
    np.testing.assert_allclose(effective(strategy)[LAYER], product(mine), atol=2e-5)


# These are given one factor, or (at density 1) all numbers: what the properties mean for them.
TRAINED: dict[str, tuple[Callable[[], Strategy], tuple[str, ...]]] = {
    "ffa-lora": (FFALoRA, ("B", "rest")),
    "rolora": (RoLoRA, ("B", "rest")),
    "cellm at density 1": (
        lambda: CELLM(density_down=1.0, density_up=1.0),
        ("A", "B", "rest"),
    ),
}


@pytest.mark.parametrize("weights", [[3], [3, 1, 5, 2]], ids=["one client", "alike"])
@pytest.mark.parametrize(("make", "roles"), TRAINED.values(), ids=TRAINED.keys())
def test_what_is_trained_over_a_common_factor_comes_back(
    make: Callable[[], Strategy], roles: tuple[str, ...], weights: list[int]
) -> None:
    strategy = started(make, start(2))
    other = drawn(start(2).schema, 3)
    mine = start(2).overlaid(other.only(with_roles(other.schema, roles)))
    play(strategy, [mine] * len(weights), weights)
    np.testing.assert_allclose(effective(strategy)[LAYER], product(mine), atol=2e-5)
    assert np.linalg.norm(product(mine)) > 1
    np.testing.assert_allclose(
        strategy.model["classifier.weight"], other["classifier.weight"], rtol=1e-6
    )


def test_fedsa_lora_averages_a_and_nothing_else() -> None:
    strategy = started(FedSALoRA, START)
    told = strategy.instruct("c-0", context(1, 2))
    assert list(told.arrays) == [A]
    assert (told.reply or told.arrays.schema).hash == told.arrays.schema.hash
    aggregation = strategy.begin(context(1, 2))
    for i, (one, examples) in enumerate([(ONE, 1), (TWO, 3)]):
        aggregation.add(Update(f"c-{i}", one.only(told.arrays.schema), examples))
    strategy.conclude(aggregation, context(1, 2))
    np.testing.assert_allclose(
        strategy.instruct("c-0", context(2, 2)).arrays[A], (ONE[A] + 3 * TWO[A]) / 4
    )
    assert not strategy.has_global_model


@each
def test_permuting_clients_changes_nothing(make: Callable[[], Strategy]) -> None:
    updates, weights = [drawn(start(2).schema, i) for i in range(5)], [3, 1, 5, 2, 8]
    forward, backward = started(make, start(2)), started(make, start(2))
    play(forward, updates, weights)
    play(backward, updates[::-1], weights[::-1])
    np.testing.assert_allclose(
        effective(forward)[LAYER], effective(backward)[LAYER], atol=2e-5, rtol=1e-5
    )


@pytest.mark.parametrize("make", MIXED.values(), ids=MIXED.keys())
def test_ranks_and_scales_of_their_own(make: Callable[[], Strategy]) -> None:
    ranks, weights = (1, 2, 4, 3), [4, 1, 2, 3]
    where = context(1, 4, ranks)
    strategy = started(make, start(4))
    rule = strategy.options.alpha  # type: ignore[attr-defined]
    updates = []
    for i, rank in enumerate(ranks):
        told = strategy.instruct(f"c-{i}", where)
        assert told.arrays.schema == with_rank(start(4).schema, rank, rule)
        assert told.arrays[A].shape == (rank, SHAPE[1])
        updates.append(drawn(told.arrays.schema, i))
    exact = sum(w * product(u) for w, u in zip(weights, updates, strict=True)) / 10
    figures = play(strategy, updates, weights, where)
    found = effective(strategy)[LAYER]
    if isinstance(strategy, FLoRA):
        np.testing.assert_allclose(found, exact, atol=1e-5)
    elif isinstance(strategy, FlexLoRA):
        u, s, vt = np.linalg.svd(exact)
        best = (u[:, :4] * s[:4]) @ vt[:4]
        np.testing.assert_allclose(found, best, atol=1e-5)
        # What a client of rank 2 gets is the best of rank 2, at its own scale.
        told = strategy.instruct("c-1", context(2, 4, ranks))
        np.testing.assert_allclose(product(told.arrays), (u[:, :2] * s[:2]) @ vt[:2], atol=1e-5)
    else:
        assert not np.allclose(found, exact, atol=1e-2)
    expected = np.linalg.norm(found - exact) / np.linalg.norm(exact)
    assert figures["aggregation_error"] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("make", MIXED.values(), ids=MIXED.keys())
def test_every_client_of_any_rank_counts(make: Callable[[], Strategy]) -> None:
    ranks = (1, 2, 4)
    where = context(1, 3, ranks)

    def outcome(changed: int) -> np.ndarray:
        strategy = started(make, start(4))
        updates = [
            drawn(strategy.instruct(f"c-{i}", where).arrays.schema, i + 10 * (i == changed))
            for i in range(3)
        ]
        play(strategy, updates, where=where)
        return effective(strategy)[LAYER]

    whole = outcome(-1)
    for changed in range(3):
        assert np.abs(outcome(changed) - whole).max() > 1e-3, f"client {changed} has no say"


def test_hetlora_remembers_who_has_pruned() -> None:
    strategy = started(HetLoRA, start(4))
    where = context(1, 2, (4, 2))
    aggregation = strategy.begin(where)
    for i, rank in enumerate((3, 2)):
        arrays = drawn(strategy.instruct(f"c-{i}", where).arrays.schema, i)
        aggregation.add(Update(f"c-{i}", arrays, 10, {"rank": float(rank)}))
    strategy.conclude(aggregation, where)
    saved = strategy.state()
    other = started(HetLoRA, start(4))
    other.restore(saved)
    for one in (strategy, other):
        sent = [one.instruct(f"c-{i}", context(2, 2, (4, 2))).arrays[A].shape[0] for i in (0, 1)]
        assert sent == [3, 2]


def test_fedex_truncated_keeps_the_largest_part_of_the_residual() -> None:
    updates = [drawn(start(2).schema, i) for i in range(4)]
    errors = []
    for rank in (0, 4, 2, 1):
        strategy = started(lambda rank=rank: FedExLoRA(rank=rank), start(2))
        errors.append(play(strategy, updates)["aggregation_error"])
    assert errors[0] < 1e-6
    assert errors == sorted(errors)
    assert errors[-1] < 1.0


def test_flora_starts_afresh_from_seed_and_round() -> None:
    def after(rounds: int) -> NamedArrays:
        strategy = started(FLoRA, start(2))
        for server_round in range(1, rounds + 1):
            play(strategy, [drawn(start(2).schema, 1)], where=context(server_round, 1))
        return strategy.arrays

    once, again, twice = after(1), after(1), after(2)
    np.testing.assert_array_equal(once.vector, again.vector)
    assert not np.array_equal(once[A], twice[A])
    assert np.abs(once[A]).max() <= 1 / np.sqrt(SHAPE[1])
    assert not once[B].any()


def test_alone_a_client_goes_on_at_its_own_rank() -> None:
    strategy, where = started(Local, start(4)), context(1, 3, (2, 4, None))
    sent = [strategy.instruct(f"c-{i}", where).arrays for i in range(3)]
    assert [arrays[A].shape[0] for arrays in sent] == [2, 4, 4]
    trained = [drawn(arrays.schema, i) for i, arrays in enumerate(sent)]
    play(strategy, trained, where=where)
    for i, arrays in enumerate(trained):
        np.testing.assert_array_equal(
            strategy.instruct(f"c-{i}", where).arrays.vector, arrays.vector
        )
        (own,), (whole,) = (deltas_of(a).values() for a in (arrays, strategy.model_for(f"c-{i}")))
        np.testing.assert_allclose(dense(whole), dense(own), rtol=1e-6)
