from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lora_cases import adapter, cohorts, dense_deltas, dense_mean, rank_one_pair, schema_of

from models.errors import ModelError
from models.lora.pairs import Pair
from models.schema import NamedArrays
from strategies.aggregation.lora.product import (
    Product,
    ProductMean,
    deltas_of,
    dense,
    inner,
    minus,
    norm,
    plus,
    stack,
)
from strategies.aggregation.lora.svd import Svd, randomised_svd, truncated_svd

Cohort = list[tuple[NamedArrays, float]]


def means(updates: Cohort) -> dict[str, np.ndarray]:
    mean = ProductMean(updates[0][0].schema)
    for arrays, weight in updates:
        mean.add(arrays, weight)
    return {layer: dense(delta) for layer, delta in mean.deltas()}


def rebuilt(svd: Svd) -> np.ndarray:
    return (svd.u * svd.s) @ svd.vt


def random_product(d_out: int, d_in: int, rank: int, seed: int = 0) -> Product:
    draw = np.random.default_rng(seed)
    return Product(draw.normal(size=(rank, d_in)), draw.normal(size=(d_out, rank)))


def best(matrix: np.ndarray, rank: int) -> np.ndarray:
    u, s, vt = np.linalg.svd(matrix, full_matrices=False)
    return (u[:, :rank] * s[:rank]) @ vt[:rank]


# ---- the exact mean ------------------------------------------------------------------------


def test_the_common_case_to_all_digits() -> None:
    (exact,) = means([(arrays, 1.0) for arrays in rank_one_pair()]).values()
    assert exact.tolist() == [[0.5, 1.0], [3.0, 0.0]]
    svd = truncated_svd(exact, 2)
    assert svd.s == pytest.approx([3.046341, 0.984788], abs=5e-7)
    np.testing.assert_allclose(
        rebuilt(svd.cut(1)), [[0.558349, 0.033716], [2.989101, 0.180497]], atol=5e-7
    )


def test_weights_and_scales_go_into_a_alone() -> None:
    pairs = [
        Pair("l", np.float32([[1, 2]]), np.float32([[1], [0]]), 2.0),
        Pair("l", np.float32([[3, 0]]), np.float32([[0], [2]]), 0.5),
    ]
    product = stack(zip(pairs, [0.25, 0.75], strict=True))
    assert product.b.tolist() == [[1, 0], [0, 2]]
    assert product.a.tolist() == [[0.5, 1.0], [1.125, 0.0]]
    assert product.rank == 2


@given(cohorts())
def test_mixed_ranks_scales_and_weights_give_the_dense_mean(updates: Cohort) -> None:
    found, wanted = means(updates), dense_mean(updates)
    for layer, matrix in wanted.items():
        np.testing.assert_allclose(found[layer], matrix, atol=1e-12 * (1 + np.abs(matrix).max()))


@given(cohorts(), st.randoms())
def test_the_order_of_clients_changes_nothing(updates: Cohort, random: object) -> None:
    shuffled = list(updates)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    one, other = means(updates), means(shuffled)
    for layer in one:
        np.testing.assert_allclose(one[layer], other[layer], atol=1e-9)


@given(cohorts(), st.integers(0, 6))
def test_streams_merge_to_the_same_mean(updates: Cohort, cut: int) -> None:
    first, second = (ProductMean(updates[0][0].schema) for _ in range(2))
    for i, (arrays, weight) in enumerate(updates):
        (first if i < cut else second).add(arrays, weight)
    first.merge(second)
    whole = means(updates)
    for layer, delta in first.deltas():
        np.testing.assert_allclose(dense(delta), whole[layer], atol=1e-9)


def test_one_client_and_equal_clients_give_their_own_product() -> None:
    arrays = adapter(schema_of(3), 5)
    for updates in ([(arrays, 7.0)], [(arrays, 1.0), (arrays, 5.0), (arrays, 0.25)]):
        for layer, delta in dense_deltas(arrays).items():
            np.testing.assert_allclose(means(updates)[layer], delta, rtol=1e-12, atol=1e-12)


def test_every_client_counts_and_a_weight_of_zero_does_not() -> None:
    updates = [(adapter(schema_of(2), seed), 1.0 + seed) for seed in range(3)]
    whole = means(updates)["layers.0.q_proj"]
    for i in range(3):
        assert np.abs(means(updates[:i] + updates[i + 1 :])["layers.0.q_proj"] - whole).max() > 0.1
    silent = [*updates, (adapter(schema_of(2), 9), 0.0)]
    np.testing.assert_allclose(means(silent)["layers.0.q_proj"], whole, atol=1e-12)
    assert means([(updates[0][0], 0.0)]) == {}


def test_factors_are_kept_while_they_are_small_and_a_matrix_beyond() -> None:
    schema = schema_of(2, ((20, 12),))
    mean = ProductMean(schema)
    kinds = []
    for seed in range(10):
        mean.add(adapter(schema, seed), 1.0)
        ((_, delta),) = mean.deltas()
        kinds.append(isinstance(delta, Product))
    assert kinds == [True, True] + [False] * 8
    wanted = dense_mean([(adapter(schema, seed), 1.0) for seed in range(10)])["layers.0.q_proj"]
    np.testing.assert_allclose(dense(delta), wanted, atol=1e-12)


def test_adapters_of_other_layers_are_refused() -> None:
    mean = ProductMean(schema_of(2))
    with pytest.raises(ModelError, match=r"only some have 'layers.1.v_proj'"):
        mean.add(adapter(schema_of(2, ((5, 4),)), 0), 1.0)


# ---- norms ---------------------------------------------------------------------------------


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 12), st.integers(1, 12))
def test_norms_and_inner_products_are_those_of_the_matrices(
    d_out: int, d_in: int, rank: int, other: int
) -> None:
    x, y = random_product(d_out, d_in, rank), random_product(d_out, d_in, other, 1)
    assert norm(x) == pytest.approx(np.linalg.norm(dense(x)), rel=1e-7, abs=1e-9)
    assert inner(x, y) == pytest.approx(np.vdot(dense(x), dense(y)), rel=1e-9, abs=1e-9)
    np.testing.assert_allclose(dense(minus(x, y)), dense(x) - dense(y), atol=1e-12)
    np.testing.assert_allclose(dense(plus(x, dense(y))), dense(x) + dense(y), atol=1e-12)
    assert norm(minus(dense(x), y)) == pytest.approx(norm(minus(x, y)), rel=1e-7, abs=1e-9)


@pytest.mark.parametrize("gap", [1e-3, 1e-6, 1e-9, 0.0])
def test_a_small_difference_of_large_products_keeps_its_digits(gap: float) -> None:
    x = random_product(50, 40, 4)
    y = Product(x.a * (1 + gap), x.b)
    assert norm(minus(y, x)) == pytest.approx(gap * norm(x), rel=1e-4, abs=1e-13)


# ---- singular values -----------------------------------------------------------------------


@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 15), st.integers(1, 14))
def test_truncation_is_the_best_approximation(d_out: int, d_in: int, rank: int, cut: int) -> None:
    product = random_product(d_out, d_in, rank, d_out)
    svd = truncated_svd(product, cut)
    assert (svd.u.shape, svd.s.shape, svd.vt.shape) == ((d_out, cut), (cut,), (cut, d_in))
    np.testing.assert_allclose(rebuilt(svd), best(dense(product), cut), atol=1e-9)
    values = np.linalg.svd(dense(product), compute_uv=False)[:cut]
    np.testing.assert_allclose(svd.s[: len(values)], values, atol=1e-9)
    room = min(cut, d_in)
    np.testing.assert_allclose((svd.vt @ svd.vt.T)[:room, :room], np.eye(room), atol=1e-9)
    assert not svd.vt[room:].any()
    assert not svd.s[min(d_out, d_in) :].any()


def clients(count: int, spread: float, shared_a: bool) -> Product:
    """Stack rank-8 adapters of a 320 x 288 layer around a common one."""
    draw = np.random.default_rng(count)
    a0, b0 = draw.normal(size=(8, 288)), draw.normal(size=(320, 8))
    pairs = []
    for _ in range(count):
        a = a0 if shared_a else a0 + spread * draw.normal(size=a0.shape)
        b = b0 + spread * draw.normal(size=b0.shape)
        pairs.append(Pair("l", a.astype(np.float32), b.astype(np.float32), 2.0))
    return stack((pair, 1 / count) for pair in pairs)


def nearly_cancelled(gap: float) -> Product:
    """Return the small difference of two large products."""
    one = clients(17, 1.0, False)
    noise = gap * np.random.default_rng(0).normal(size=one.a.shape)
    return minus(Product(one.a + noise, one.b), one)


@pytest.mark.parametrize(
    "product",
    [
        clients(34, 10.0, False),
        clients(34, 1e-3, False),
        clients(34, 0.3, True),
        random_product(320, 288, 280),
        Product(np.zeros((270, 288)), np.ones((320, 270))),
        nearly_cancelled(1e-8),
        nearly_cancelled(0.0),
        minus(clients(20, 1.0, True), clients(17, 1.0, True)),
    ],
    ids=["apart", "alike", "one-a", "random", "zero", "nearly", "cancelled", "difference"],
)
@pytest.mark.parametrize("rank", [1, 8, 30])
def test_large_stacks_agree_with_the_dense_svd(product: Product, rank: int) -> None:
    assert product.rank > 256
    matrix = dense(product)
    svd = truncated_svd(product, rank)
    values = np.linalg.svd(matrix, compute_uv=False)
    size = max(values[0], 1e-6)
    np.testing.assert_allclose(svd.s, values[:rank], atol=1e-6 * size)
    left = np.linalg.norm(matrix - rebuilt(svd))
    assert left <= np.linalg.norm(values[rank:]) + 1e-6 * size
    np.testing.assert_allclose(svd.vt @ svd.vt.T, np.eye(rank), atol=1e-9)


def test_signs_and_bits_are_fixed() -> None:
    product = random_product(9, 7, 3)
    one, turned = truncated_svd(product, 3), truncated_svd(Product(-product.a, -product.b), 3)
    assert (np.take_along_axis(one.vt, np.abs(one.vt).argmax(1)[:, None], 1) > 0).all()
    np.testing.assert_allclose(one.vt, turned.vt, atol=1e-12)
    again = truncated_svd(product, 3)
    assert all(np.array_equal(getattr(one, n), getattr(again, n)) for n in ("u", "s", "vt"))


@pytest.mark.parametrize("split", ["left", "symmetric"])
def test_factors_undo_the_receiving_scale(split: str) -> None:
    product = random_product(9, 7, 3)
    a, b = truncated_svd(product, 2).factors(0.25, split)  # type: ignore[arg-type]
    np.testing.assert_allclose(0.25 * b @ a, best(dense(product), 2), atol=1e-12)
    if split == "left":
        np.testing.assert_allclose(a @ a.T, np.eye(2), atol=1e-12)
    else:
        np.testing.assert_allclose(a @ a.T, b.T @ b, atol=1e-12)
    with pytest.raises(ModelError, match="a LoRA scale of 0"):
        truncated_svd(product, 2).factors(0)


@settings(max_examples=20)
@given(st.integers(1, 4), st.integers(0, 100))
def test_random_vectors_suffice_for_low_ranks(rank: int, seed: int) -> None:
    product = random_product(60, 50, rank, seed)
    svd = randomised_svd(product, rank, np.random.default_rng(seed))
    np.testing.assert_allclose(rebuilt(svd), dense(product), atol=1e-8)


def test_power_iterations_sharpen_a_slow_decay_and_the_seed_fixes_the_bits() -> None:
    matrix = best(random_product(90, 80, 80).b @ random_product(90, 80, 80).a, 80)
    optimum = np.linalg.norm(matrix - best(matrix, 5))

    def excess(power: int) -> float:
        svd = randomised_svd(matrix, 5, np.random.default_rng(3), power_iterations=power)
        return float(np.linalg.norm(matrix - rebuilt(svd)) / optimum - 1)

    assert 0 <= excess(8) < excess(1) < excess(0)
    assert excess(8) < 1e-4
    one, other = (randomised_svd(matrix, 5, np.random.default_rng(3)) for _ in range(2))
    assert np.array_equal(one.u, other.u)


def test_deltas_of_one_adapter_are_its_products() -> None:
    arrays = adapter(schema_of(2), 0)
    for layer, delta in deltas_of(arrays).items():
        np.testing.assert_allclose(dense(delta), dense_deltas(arrays)[layer], atol=1e-12)
