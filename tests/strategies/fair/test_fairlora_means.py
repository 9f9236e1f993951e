"""FairLoRA's server half: means by hand, absent groups, shared half, stiffening, products."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import ConfigurationError
from models.schema import NamedArrays, Schema
from strategies.aggregation.fair.factors import group_weights, with_shared_half
from strategies.aggregation.fair.products import fitted, misfit, stacked
from strategies.fair.fairlora import FairLoRA
from strategies.fair.local_s import LocalS
from strategies.personal.fedper import FedPer
from strategies.rounds.context import RoundContext, Update
from strategies.transport.roster import Client, Node, Roster

U, S, V, HEAD = "a.fairlora_U", "a.fairlora_S", "a.fairlora_V", "head.weight"
SCHEMA = Schema.of(
    {
        U: np.zeros((6, 4), np.float32),
        S: np.zeros((3, 4), np.float32),
        V: np.zeros((4, 5), np.float32),
        HEAD: np.zeros((2, 2), np.float32),
    },
    {"kind": "fairlora", "head": "head"},
)


def context(number: int = 1, rounds: int = 10) -> RoundContext:
    roster = Roster()
    roster.join(Node(0, "c-0"), [Client(f"c-{k}", 0, 10) for k in range(4)])
    return RoundContext(number, rounds, roster)


def arrays(seed: int) -> NamedArrays:
    numbers = np.random.default_rng(seed).normal(size=SCHEMA.size)
    return NamedArrays(SCHEMA, numbers.astype(np.float32))


def update(client: int, counts: Any, examples: int = 10) -> Update:
    return Update(f"c-{client}", arrays(client), examples, notes={"group_examples": counts})


def after(updates: list[Update], number: int = 1, **options: Any) -> tuple[FairLoRA, NamedArrays]:
    strategy = FairLoRA(**options)
    strategy.initialise(arrays(99))
    where = context(number)
    part = strategy.begin(where)
    for item in updates:
        part.add(item)
    strategy.conclude(part, where)
    return strategy, strategy.arrays


def test_factors_by_examples_and_s_by_the_groups_examples() -> None:
    _, found = after([update(0, [2, 8, 0], 10), update(1, [20, 0, 10], 30)])
    a, b = arrays(0), arrays(1)
    for key in (U, V, HEAD):
        np.testing.assert_allclose(found[key], (10 * a[key] + 30 * b[key]) / 40, rtol=1e-6)
    expected = [(2 * a[S][0] + 20 * b[S][0]) / 22, a[S][1], b[S][2]]
    np.testing.assert_allclose(found[S], expected, rtol=1e-6)


def test_a_group_that_nobody_has_keeps_its_s() -> None:
    _, found = after([update(0, [4, 6, 0]), update(1, [10, 0, 0])])
    np.testing.assert_array_equal(found[S][2], arrays(99)[S][2])
    assert np.isfinite(found.vector).all()
    _, found = after([update(0, [0, 0, 0]), update(1, None)])
    np.testing.assert_array_equal(found[S], arrays(99)[S])
    assert not np.array_equal(found[U], arrays(99)[U])


@pytest.mark.parametrize(
    "counts",
    [None, "3", [1, 2], [1, 2, 3, 4], [-1, 2, 3], [1.0, 2, 3], [True, 1, 2], [9, 9, 9], [11, 0, 0],
     {"a": 1}, [10**30, 0, 0]],
)  # fmt: skip
def test_counts_that_cannot_be_do_not_count(counts: object) -> None:
    np.testing.assert_array_equal(group_weights(counts, 3, 10, 10.0), [0, 0, 0])
    np.testing.assert_array_equal(group_weights([1, 2, 3], 3, 0, 0.0), [0, 0, 0])


def test_a_wrappers_weight_scales_the_groups_too() -> None:
    np.testing.assert_allclose(group_weights([1, 2, 3], 3, 10, 25.0), [2.5, 5, 7.5])


def test_the_first_half_of_s_is_shared() -> None:
    plain = after([update(0, [4, 6, 0]), update(1, [1, 2, 7])])[1]
    found = after([update(0, [4, 6, 0]), update(1, [1, 2, 7])], shared_half_s=True)[1]
    np.testing.assert_allclose(found[S][:, :2], [plain[S][:, :2].mean(axis=0)] * 3, rtol=1e-6)
    np.testing.assert_array_equal(found[S][:, 2:], plain[S][:, 2:])
    np.testing.assert_array_equal(found[U], plain[U])
    np.testing.assert_array_equal(with_shared_half(found).vector, found.vector)


@pytest.mark.parametrize("number", [1, 5, 10])
def test_the_model_stiffens_as_rounds_go_by(number: int) -> None:
    updates = [update(0, [4, 6, 0]), update(1, [1, 2, 7])]
    plain, found = after(updates)[1], after(updates, number, ema=0.999)[1]
    b = 0.999 * (number - 1) / 10
    expected = (1 - b) * plain.vector + b * arrays(99).vector
    np.testing.assert_allclose(found.vector, expected, atol=1e-6)


def products(found: NamedArrays) -> np.ndarray:
    return np.einsum("ir,gr,ro->gio", found[U], found[S], found[V])


def test_products_are_closer_to_their_mean_than_those_of_mean_factors() -> None:
    updates = [update(k, [3 + k, 4, 3 - k]) for k in range(3)]
    plain, (strategy, found) = after(updates)[1], after(updates, mean="product")
    counts = np.array([[3 + k, 4, 3 - k] for k in range(3)], float)
    weights = counts / counts.sum(axis=0)
    exact = sum(
        w[:, None, None] * products(u.arrays) for w, u in zip(weights, updates, strict=True)
    )
    errors = [np.linalg.norm(products(x) - exact) / np.linalg.norm(exact) for x in (found, plain)]
    assert errors[0] < 0.8 * errors[1]
    assert strategy.figures()["misfit/a"] == pytest.approx(errors[0], abs=1e-5)
    np.testing.assert_array_equal(found[HEAD], plain[HEAD])


def test_equal_clients_come_back_and_absent_groups_keep_their_s() -> None:
    same = [Update(f"c-{k}", arrays(7), 10, notes={"group_examples": [5, 5, 0]}) for k in range(3)]
    found = after(same, mean="product")[1]
    np.testing.assert_allclose(products(found)[:2], products(arrays(7))[:2], atol=1e-4)
    np.testing.assert_array_equal(found[S][2], arrays(99)[S][2])


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 4))
def test_stacked_factors_are_the_exact_mean_and_fitting_never_makes_it_worse(
    seed: int, clients: int
) -> None:
    generator = np.random.default_rng(seed)
    counts = generator.uniform(0.1, 5, size=(clients, 3))
    parts = [(arrays(seed + k), counts[k]) for k in range(clients)]
    every, weights = np.arange(3), counts.sum(axis=0)
    target = stacked(parts, "a", weights, every)
    exact = sum((c / weights)[:, None, None] * products(a) for a, c in parts)
    np.testing.assert_allclose(np.einsum("ir,gr,ro->gio", *target), exact, atol=1e-5)
    start = tuple(parts[0][0][key].astype(np.float64) for key in (U, S, V))
    found = fitted(target, start, sweeps=5)  # type: ignore[arg-type]
    assert misfit(target, found) <= misfit(target, start) + 1e-12  # type: ignore[arg-type]
    whole = np.einsum("ir,gr,ro->gio", *found)
    expected = np.linalg.norm(whole - exact) / np.linalg.norm(exact)
    assert misfit(target, found) == pytest.approx(expected, abs=1e-6)


def test_counts_are_asked_for_whatever_the_clients_half_is() -> None:
    strategy = FedPer(FairLoRA())
    strategy.initialise(arrays(0))
    assert dict(strategy.instruct("c-0", context()).config) == {
        "count-groups": True,
        "trainer": "partial",
    }


def test_only_s_stays_with_the_client() -> None:
    strategy = LocalS()
    strategy.initialise(arrays(0))
    told = strategy.instruct("c-0", context())
    assert sorted(told.arrays) == [U, V, HEAD]
    assert told.config["trainer"] == "partial"


def test_other_adapters_are_refused() -> None:
    lora = NamedArrays.of({"a.lora_A.weight": np.zeros((2, 3), np.float32)}, {"kind": "lora"})
    with pytest.raises(ConfigurationError, match=r"needs U, S and V of adapter='fairlora'.*'lora'"):
        FairLoRA().initialise(lora)
