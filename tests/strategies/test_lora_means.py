from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lora_cases import adapter, cohorts, dense_deltas, dense_mean, rank_one_pair, schema_of

from models.errors import ModelError
from models.schema import NamedArrays
from strategies.aggregation.lora.error import aggregation_error
from strategies.aggregation.lora.means import FactorMean, norm_weights
from strategies.aggregation.lora.product import ProductMean, deltas_of, dense, plus
from strategies.aggregation.lora.residual import residuals, truncated

Cohort = list[tuple[NamedArrays, float]]
SIZES = ((5, 4), (6, 7))


def mean_of(updates: Cohort, schema: object = None, into: str = "B") -> NamedArrays:
    widest = max((a.schema for a, _ in updates), key=lambda s: s.size)
    mean = FactorMean(schema or widest, into)  # type: ignore[arg-type]
    for arrays, weight in updates:
        mean.add(arrays, weight)
    found = mean.result()
    assert found is not None
    return found


# ---- separate means ------------------------------------------------------------------------


def test_the_product_of_means_is_not_the_mean_of_products() -> None:
    updates = [(arrays, 1.0) for arrays in rank_one_pair()]
    (product,) = dense_deltas(mean_of(updates)).values()
    assert product.tolist() == [[1.0, 0.5], [2.0, 1.0]]
    (residual,) = (dense(delta) for _, delta in residuals(updates, mean_of(updates)))
    assert residual.tolist() == [[-0.5, 0.5], [1.0, -1.0]]


def test_homogeneous_means_are_plain_weighted_means() -> None:
    updates = [(adapter(schema_of(2), seed), 1.0 + seed) for seed in range(3)]
    wanted = np.average([a.vector for a, _ in updates], axis=0, weights=[w for _, w in updates])
    found = mean_of(updates)
    np.testing.assert_allclose(found.vector, wanted, rtol=1e-6)
    assert found.vector.dtype == np.float32


def test_lower_ranks_are_padded_and_divided_by_all() -> None:
    small, large = adapter(schema_of(1, alpha=1.0), 0), adapter(schema_of(3, alpha=3.0), 1)
    found = mean_of([(small, 1.0), (large, 3.0)])
    a, b = "layers.0.q_proj.lora_A.weight", "layers.0.q_proj.lora_B.weight"
    np.testing.assert_allclose(found[a][0], (small[a][0] + 3 * large[a][0]) / 4, rtol=1e-6)
    np.testing.assert_allclose(found[a][1:], 0.75 * large[a][1:], rtol=1e-6)
    np.testing.assert_allclose(found[b][:, 1:], 0.75 * large[b][:, 1:], rtol=1e-6)
    np.testing.assert_allclose(found[b][:, :1], (small[b] + 3 * large[b][:, :1]) / 4, rtol=1e-6)


@pytest.mark.parametrize("into", ["A", "B"])
def test_one_client_of_another_rank_and_scale_keeps_its_product(into: str) -> None:
    arrays = adapter(schema_of(2, alpha=8.0), 3)
    found = mean_of([(arrays, 5.0)], schema_of(4, alpha=2.0), into)
    for layer, delta in dense_deltas(arrays).items():
        np.testing.assert_allclose(dense_deltas(found)[layer], delta, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("letter", "into"), [("A", "B"), ("B", "A")])
def test_means_are_exact_where_one_factor_is_shared(letter: str, into: str) -> None:
    schemas = [schema_of(2, alpha=alpha) for alpha in (2.0, 8.0, 16.0)]
    updates = [(adapter(schema, i), 1.0 + i) for i, schema in enumerate(schemas)]
    for arrays, _ in updates:
        for key in arrays:
            if f"lora_{letter}" in key:
                arrays[key][...] = updates[0][0][key]
    exact = dense_mean(updates)
    made = dense_deltas(mean_of(updates, schemas[1], into))
    for layer, delta in exact.items():
        np.testing.assert_allclose(made[layer], delta, rtol=1e-4, atol=1e-5)


@given(cohorts(), st.randoms())
def test_order_and_streams_change_nothing(updates: Cohort, random: object) -> None:
    widest = max((a.schema for a, _ in updates), key=lambda s: s.size)
    shuffled = list(updates)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    streams = [FactorMean(widest), FactorMean(widest)]
    for i, (arrays, weight) in enumerate(shuffled):
        streams[i % 2].add(arrays, weight)
    streams[0].merge(streams[1])
    found = streams[0].result()
    assert found is not None
    np.testing.assert_allclose(found.vector, mean_of(updates).vector, rtol=1e-4, atol=1e-5)


def test_the_same_order_gives_the_same_bits() -> None:
    updates = [(adapter(schema_of(1 + seed % 3), seed), 1.0 + seed) for seed in range(7)]
    assert mean_of(updates).vector.tobytes() == mean_of(updates).vector.tobytes()


def test_long_arrays_are_added_whole() -> None:
    schema = schema_of(2, ((5, 70_000),))
    updates = [(adapter(schema, seed), 1.0) for seed in range(2)]
    wanted = (updates[0][0].vector.astype(np.float64) + updates[1][0].vector) / 2
    np.testing.assert_array_equal(mean_of(updates).vector, wanted.astype(np.float32))


def test_what_does_not_fit_is_refused() -> None:
    mean = FactorMean(schema_of(2))
    with pytest.raises(ModelError, match="has rank 3, but the mean has room for 2"):
        mean.add(adapter(schema_of(3), 0), 1.0)
    with pytest.raises(ModelError, match=r"of 5 x 3 does not fit 'layers.0.q_proj' of 5 x 4"):
        mean.add(adapter(schema_of(2, ((5, 3), (6, 7))), 0), 1.0)
    with pytest.raises(ModelError, match="different arrays have no mean"):
        mean.add(adapter(schema_of(2, head=9), 0), 1.0)
    assert mean.result() is None


# ---- norm weights --------------------------------------------------------------------------


def test_the_common_case_has_the_weights_root_five_and_six() -> None:
    weights = [norm_weights(arrays)[0] for arrays in rank_one_pair()]
    assert weights == pytest.approx([math.sqrt(5), 6.0])
    assert np.divide(weights, sum(weights)) == pytest.approx([0.271497, 0.728503], abs=5e-7)


@given(cohorts())
def test_norm_weights_are_those_of_the_dense_products(updates: Cohort) -> None:
    for arrays, _ in updates:
        wanted = [np.linalg.norm(delta) for delta in dense_deltas(arrays).values()]
        assert norm_weights(arrays) == pytest.approx(wanted, rel=1e-6)


def test_pairs_and_rest_have_weights_of_their_own() -> None:
    one, other = adapter(schema_of(2), 0), adapter(schema_of(2), 1)
    mean = FactorMean(schema_of(2))
    mean.add(one, 1.0, [1.0, 3.0])
    mean.add(other, 4.0, [3.0, 1.0])
    found = mean.result()
    assert found is not None
    for key in one:
        share = 0.8 if "classifier" in key else 0.75 if "layers.0" in key else 0.25
        wanted = (1 - share) * one[key] + share * other[key]
        np.testing.assert_allclose(found[key], wanted, rtol=1e-5, atol=1e-6)


def test_clients_without_a_product_count_only_among_themselves() -> None:
    trained, fresh = adapter(schema_of(2), 0), adapter(schema_of(2), 1)
    for key in fresh:
        if "lora_B" in key:
            fresh[key][...] = 0
    mean, blank = FactorMean(schema_of(2)), FactorMean(schema_of(2))
    mean.add(trained, 1.0, norm_weights(trained))
    for into in (mean, blank):
        into.add(fresh, 1.0, norm_weights(fresh))
    found, alone = mean.result(), blank.result()
    assert found is not None
    assert alone is not None
    key = "layers.0.q_proj.lora_A.weight"
    np.testing.assert_array_equal(found[key], trained[key])
    np.testing.assert_array_equal(alone[key], fresh[key])


# ---- residual and error --------------------------------------------------------------------


@given(cohorts())
def test_means_and_residual_together_are_exact(updates: Cohort) -> None:
    mean = mean_of(updates)
    exact, kept = dense_mean(updates), dense_deltas(mean)
    for layer, residual in residuals(updates, mean):
        size = 1 + max(np.abs(dense_deltas(arrays)[layer]).max() for arrays, _ in updates)
        np.testing.assert_allclose(kept[layer] + dense(residual), exact[layer], atol=2e-6 * size)


def test_one_client_and_equal_clients_leave_no_residual() -> None:
    arrays = adapter(schema_of(3), 5)
    for updates in ([(arrays, 7.0)], [(arrays, 1.0), (arrays, 4.0)]):
        for _, residual in residuals(updates, mean_of(updates)):
            assert not dense(residual).any()


def test_the_truncated_residual_is_the_best_of_its_rank() -> None:
    schema = schema_of(2, ((30, 25), (30, 25)))
    updates = [(adapter(schema, seed), 1.0) for seed in range(5)]
    whole = dict(residuals(updates, mean_of(updates)))
    for layer, cut in truncated(whole, 3).items():
        values = np.linalg.svd(dense(whole[layer]), compute_uv=False)
        left = np.linalg.norm(dense(whole[layer]) - dense(cut))
        assert left == pytest.approx(np.linalg.norm(values[3:]), rel=1e-9)


@given(cohorts())
def test_errors_are_the_dense_ones(updates: Cohort) -> None:
    mean = mean_of(updates)
    exact = ProductMean(mean.schema)
    for arrays, weight in updates:
        exact.add(arrays, weight)
    found = aggregation_error(exact.deltas(), deltas_of(mean))
    made, wanted = dense_deltas(mean), dense_mean(updates)
    off = {layer: np.linalg.norm(made[layer] - wanted[layer]) for layer in wanted}
    size = {layer: np.linalg.norm(wanted[layer]) for layer in wanted}
    for layer, error in found.layers.items():
        assert error == pytest.approx(off[layer] / size[layer], rel=1e-5, abs=1e-6)
    total = np.linalg.norm(list(off.values())) / np.linalg.norm(list(size.values()))
    assert found.total == pytest.approx(total, rel=1e-5, abs=1e-6)


def test_the_common_cases_error_and_that_of_the_exact_method() -> None:
    updates = [(arrays, 1.0) for arrays in rank_one_pair()]
    exact = ProductMean(updates[0][0].schema)
    for arrays, weight in updates:
        exact.add(arrays, weight)
    mean = mean_of(updates)
    # ||[[.5, -.5], [-1, 1]]|| / ||[[.5, 1], [3, 0]]||
    lost = aggregation_error(exact.deltas(), deltas_of(mean))
    assert lost.total == pytest.approx(math.sqrt(2.5 / 10.25), abs=1e-12)
    whole = {layer: plus(deltas_of(mean)[layer], r) for layer, r in residuals(updates, mean)}
    assert aggregation_error(exact.deltas(), whole).total < 1e-12


def test_nothing_instead_of_nothing_is_no_error_and_something_is() -> None:
    zero, some = np.zeros((2, 2)), np.eye(2)
    assert aggregation_error([("l", zero)], {"l": zero}).layers == {"l": 0.0}
    assert aggregation_error([("l", zero)], {"l": some}).total == math.inf
    assert aggregation_error([], {}).total == 0.0
