"""Sketches, trees, bipartitions and stable numbers, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from concept_clients import SCHEMA
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import BouquetError
from models.lora.pairs import Layout
from models.schema import NamedArrays
from strategies.aggregation.clusters.bipartition import Norms, bipartition, cosine_similarity
from strategies.aggregation.clusters.matching import kept_numbers
from strategies.aggregation.clusters.sketches import Fold, ProductFold, largest_prime
from strategies.aggregation.clusters.starts import dealt, perturbed
from strategies.aggregation.clusters.trees import (
    best_cut,
    cut,
    leaves,
    nearest_mean,
    principal,
    settled,
    silhouette,
    ward_tree,
    without_singletons,
)
from strategies.aggregation.lora.product import deltas_of, inner


def test_ward_heights_by_hand() -> None:
    """sqrt(2 |a||b| / (|a| + |b|)) times the distance of the means."""
    points = np.array([[0.0], [2.0], [10.0], [11.0]])
    tree = ward_tree(points)
    # 10 and 11 merge at 1, 0 and 2 at 2; then the means 1 and 10.5 at sqrt(2*2*2/4) * 9.5.
    np.testing.assert_allclose(tree[:, 2], [1.0, 2.0, np.sqrt(2) * 9.5])
    assert cut(tree, 2.5).tolist() == [0, 0, 1, 1]
    assert cut(tree, 1.5).tolist() == [0, 1, 2, 2]
    assert cut(tree, 0.5).tolist() == [0, 1, 2, 3]
    assert cut(tree, 14.0).tolist() == [0, 0, 0, 0]
    assert sorted(leaves(tree)) == [0, 1, 2, 3]


def test_one_point_is_one_group() -> None:
    tree = ward_tree(np.ones((1, 3)))
    groups, height = best_cut(tree, np.ones((1, 3)), 0.25)
    assert (groups.tolist(), height, leaves(tree)) == ([0], 0.0, [0])
    assert cut(tree, 1.0).tolist() == [0]


def test_points_that_are_not_finite_are_refused() -> None:
    with pytest.raises(BouquetError, match="not finite"):
        ward_tree(np.array([[0.0], [np.nan]]))


def test_silhouette_by_hand() -> None:
    points = np.array([[0.0], [2.0], [10.0], [11.0]])
    distances = np.abs(points - points.T)
    # Point 0: a = 2, b = 10.5; point 2: a = 2, b = 8.5; 10: a = 1, b = 9; 11: a = 1, b = 10.
    expected = np.mean([8.5 / 10.5, 6.5 / 8.5, 8 / 9, 9 / 10])
    assert silhouette(distances, np.array([0, 0, 1, 1])) == pytest.approx(expected)
    # A point that is alone counts 0: point 0 and point 1 here.
    assert silhouette(distances, np.array([0, 1, 2, 2])) == pytest.approx((7 / 8 + 8 / 9) / 4)
    assert silhouette(distances, np.zeros(4, int)) == 0


@given(st.integers(2, 5), st.integers(2, 6), st.integers(0, 10_000), st.floats(1e-3, 1e3))
@settings(max_examples=40, deadline=None)
def test_the_best_cut_finds_far_groups_at_any_scale(
    groups: int, size: int, seed: int, scale: float
) -> None:
    generator = np.random.default_rng(seed)
    truth = np.repeat(np.arange(groups), size)
    points = 20 * np.eye(groups, 8)[truth] + generator.normal(size=(len(truth), 8))
    found, height = best_cut(ward_tree(scale * points), scale * points, 0.25)
    np.testing.assert_array_equal(found, truth)
    np.testing.assert_array_equal(cut(ward_tree(scale * points), height), truth)


@pytest.mark.parametrize("shape", [(6, 100), (30, 500), (60, 60), (200, 12), (40, 2), (18, 3)])
def test_points_without_groups_are_not_cut(shape: tuple[int, int]) -> None:
    for seed in range(5):
        points = np.random.default_rng(seed).normal(size=shape)
        found, _ = best_cut(ward_tree(points), points, 0.25)
        assert set(found.tolist()) == {0}


@pytest.mark.parametrize("size", [500, 20_000])
def test_groups_are_found_in_noise_larger_than_their_distance(size: int) -> None:
    """The means are 0.8 sqrt(size) apart, two points of one group sqrt(2 size)."""
    truth = np.repeat(np.arange(3), 10)
    means = 0.8 * np.sqrt(size / 2) * np.eye(3, size)[truth]
    points = means + np.random.default_rng(1).normal(size=(30, size))
    found, _ = best_cut(ward_tree(points), points, 0.25)
    np.testing.assert_array_equal(found, truth)


def test_principal_coordinates_keep_distances_and_count_what_stands_out() -> None:
    generator = np.random.default_rng(0)
    truth = np.repeat(np.arange(3), 10)
    points = 3 * np.sqrt(400 / 20) * np.eye(3, 400)[truth] + generator.normal(size=(30, 400))
    kept, out = principal(points)
    assert (kept.shape, out) == ((30, 29), 2)
    np.testing.assert_allclose(
        np.linalg.norm(kept[0] - kept[10]), np.linalg.norm(points[0] - points[10]), rtol=1e-6
    )
    assert principal(np.ones((1, 3)))[0].shape == (1, 0)
    assert principal(generator.normal(size=(200, 12)))[0].shape == (200, 12)


def test_singletons_join_the_nearest_mean_or_who_is_as_far_from_the_server() -> None:
    features = np.array([[1.0, 0], [1, 0.2], [-5, 0], [-5, 0.2], [0.4, 5.0]])
    groups = np.array([0, 0, 1, 1, 2])
    assert without_singletons(groups, features, "nearest").tolist() == [0, 0, 1, 1, 0]
    # Squared norms 1, 1.04, 25, 25.04 and 25.16: client 3's is the most like it.
    assert without_singletons(groups, features, "distance-to-server").tolist() == [0, 0, 1, 1, 1]
    assert without_singletons(np.arange(3), np.eye(3), "nearest").tolist() == [0, 0, 0]
    assert without_singletons(np.array([0, 0]), np.eye(2), "nearest").tolist() == [0, 0]


def test_numbers_stay_with_the_larger_overlap() -> None:
    before = {"a": 4, "b": 4, "c": 4, "d": 7, "e": 7}
    assert kept_numbers(before, [["d", "e", "c"], ["a", "b"]]) == [7, 4]
    # A split: the larger part keeps the number, the rest is new.
    assert kept_numbers(before, [["a"], ["b", "c"], ["d", "e"]]) == [None, 4, 7]
    # A merger: one of the numbers stays.
    assert kept_numbers(before, [["a", "b", "c", "d", "e"]]) == [4]
    assert kept_numbers({}, [["a"], ["b"]]) == [None, None]
    # One to one: giving 1 to the group that has most of it would keep 3 clients, this keeps 4.
    before = {"a": 1, "b": 1, "c": 1, "d": 2, "e": 2, "f": 1, "g": 1}
    assert kept_numbers(before, [["a", "b", "c", "d", "e"], ["f", "g"]]) == [2, 1]


@given(st.lists(st.integers(0, 4), min_size=1, max_size=20), st.permutations(range(5)))
def test_renamed_groups_keep_all_their_numbers(labels: list[int], renaming: list[int]) -> None:
    before = {f"c-{i}": label + 10 for i, label in enumerate(labels)}
    groups = [[c for c, n in before.items() if n == name + 10] for name in renaming]
    groups = [group for group in groups if group]
    assert kept_numbers(before, groups) == [before[group[0]] for group in groups]


def test_bipartition_by_hand() -> None:
    # Updates at 0, 10, 95 and 100 degrees: complete linkage joins 0-10 and 95-100.
    angles = np.radians([0, 95, 10, 100, 5])
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1) * [[1], [9], [2], [0.1], [3]]
    similarity = cosine_similarity(rows)
    assert similarity[0, 1] == pytest.approx(np.cos(np.radians(95)))
    assert bipartition(similarity) == ([0, 2, 4], [1, 3])
    assert bipartition(similarity[:2, :2]) == ([0], [1])


def test_complete_linkage_not_single() -> None:
    # A chain 0, 40, 80, 125: single linkage would cut off 125, complete joins 80 and 125.
    angles = np.radians([0, 40, 82, 125])
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    assert bipartition(cosine_similarity(rows)) == ([0, 1], [2, 3])


def test_a_client_that_did_not_move_is_at_right_angles_to_all() -> None:
    similarity = cosine_similarity(np.array([[1.0, 0], [0, 0], [1, 0]]))
    np.testing.assert_array_equal(similarity, [[1, 0, 1], [0, 1, 0], [1, 0, 1]])


def test_norms_of_updates() -> None:
    norms = Norms.of(np.array([[3.0, 4.0], [-3.0, 4.0]]))
    assert (norms.mean, norms.largest) == (4.0, 5.0)


@pytest.mark.parametrize(("limit", "prime"), [(2, 2), (3, 3), (4, 3), (256, 251), (1024, 1021)])
def test_largest_prime(limit: int, prime: int) -> None:
    assert largest_prime(limit) == prime


def test_a_fold_is_a_sum_with_signs() -> None:
    fold = Fold(1000, 7, np.random.default_rng(0))
    signs = np.array([fold(np.eye(1000)[i]).sum() for i in range(1000)])
    assert set(signs) == {-1.0, 1.0}
    vector = np.random.default_rng(1).normal(size=1000)
    expected = [(signs * vector)[place::7].sum() for place in range(7)]
    np.testing.assert_allclose(fold(vector), expected)
    np.testing.assert_allclose(fold(vector, vector / 2), fold(vector) / 2)


def test_folds_of_any_length_and_block_agree_with_the_definition() -> None:
    length = 512 * 11 * 2 + 5
    fold = Fold(length, 12, np.random.default_rng(0))
    vector = np.random.default_rng(1).normal(size=length)
    signs = 2 * np.random.default_rng(0).integers(0, 2, size=length, dtype=np.int8) - 1
    expected = [(signs * vector)[place::11].sum() for place in range(11)]
    np.testing.assert_allclose(fold(vector), expected)


@pytest.mark.parametrize("columns", [1, 8, 256, 768])
def test_folds_keep_distances_of_structured_updates(columns: int) -> None:
    """Also where all the energy is in one column of a matrix."""
    generator = np.random.default_rng(3)
    rows = 768_00 // columns
    matrices = np.zeros((40, rows, columns))
    matrices[:, :, 0] = generator.normal(size=(40, rows))
    vectors = matrices.reshape(40, -1)
    fold = Fold(vectors.shape[1], 512, np.random.default_rng(0))
    sketches = np.stack([fold(vector) for vector in vectors])
    exact, short = (
        np.square(x[:, None] - x[None]).sum(axis=-1)[np.triu_indices(40, 1)]
        for x in (matrices[:, :, 0], sketches)
    )
    # The energy of one column of 100 rows lies in at most 100 places, of which few coincide.
    assert np.abs(short / exact - 1).mean() < 0.15
    assert (short / exact).mean() == pytest.approx(1.0, abs=0.05)


def adapter(seed: int) -> NamedArrays:
    numbers = np.random.default_rng(seed).normal(size=SCHEMA.size)
    return NamedArrays(SCHEMA, numbers.astype(np.float32))


def test_product_folds_estimate_inner_products_of_products() -> None:
    one, two = adapter(1), adapter(2)
    layer = "a"
    exact = inner(deltas_of(one)[layer], deltas_of(two)[layer])
    found = []
    for seed in range(300):
        fold = ProductFold(
            Layout.of(SCHEMA), 16, lambda name, seed=seed: np.random.default_rng(seed)
        )
        found.append(float(fold(one) @ fold(two)))
    spread = np.std(found) / np.sqrt(len(found))
    assert np.mean(found) == pytest.approx(exact, abs=4 * spread)


def test_product_folds_do_not_see_the_factorisation() -> None:
    one = adapter(1)
    other = adapter(1)
    turn = np.array([[2.0, 1.0], [0.5, -1.0]], np.float32)
    other["a.lora_A.weight"][...] = turn @ one["a.lora_A.weight"]
    other["a.lora_B.weight"][...] = one["a.lora_B.weight"] @ np.linalg.inv(turn)
    fold = ProductFold(Layout.of(SCHEMA), 36, lambda layer: np.random.default_rng(0))
    assert np.linalg.norm(fold(one)) > 1
    np.testing.assert_allclose(fold(one), fold(other), atol=1e-5)


def test_perturbed_models_are_other_functions_with_the_same_a() -> None:
    start = adapter(1)
    start["a.lora_B.weight"][...] = 0
    made = [perturbed(start, 0.5, np.random.default_rng(seed)) for seed in (0, 1)]
    for model in made:
        np.testing.assert_array_equal(model["a.lora_A.weight"], start["a.lora_A.weight"])
        assert np.abs(model["a.lora_B.weight"]).min() > 0
    assert not np.array_equal(made[0].vector, made[1].vector)


def test_clients_are_dealt_out_evenly_and_at_random() -> None:
    clients = [f"c-{i}" for i in range(10)]
    places = dealt(clients, 3, 0, "deal")
    assert sorted(np.bincount(list(places.values())).tolist()) == [3, 3, 4]
    assert places == dealt(clients[::-1], 3, 0, "deal")
    assert places != dealt(clients, 3, 1, "deal")


def test_a_point_moves_where_the_sum_of_squares_falls() -> None:
    # From {0, 1, 6} and {8, 9}: 6 is 3.67 from its mean (x 3/2 of the square: 20.2), 2.5 from the
    # other one (x 2/3: 4.2).
    points = np.array([[0.0], [1.0], [6.0], [8.0], [9.0]])
    assert settled(np.array([0, 0, 0, 1, 1]), points).tolist() == [0, 0, 1, 1, 1]
    # 4: 2.33 from its mean with itself in it (x 3/2: 8.2), 4.5 from the other (x 2/3: 13.5).
    points[2] = 4.0
    assert settled(np.array([0, 0, 0, 1, 1]), points).tolist() == [0, 0, 0, 1, 1]
    # The last one of a group stays.
    assert settled(np.array([0, 1]), np.array([[0.0], [0.1]])).tolist() == [0, 1]


@given(st.integers(0, 1000), st.integers(2, 4))
@settings(max_examples=20, deadline=None)
def test_settling_never_raises_the_sum_of_squares(seed: int, count: int) -> None:
    generator = np.random.default_rng(seed)
    points = generator.normal(size=(12, 3))
    before = groups = np.arange(12) % count
    groups = settled(before, points)

    def squares(labels: np.ndarray) -> float:
        parts = (points[labels == label] for label in set(labels.tolist()))
        return float(sum(np.square(part - part.mean(axis=0)).sum() for part in parts))

    assert squares(groups) <= squares(before) + 1e-9
    assert len(set(groups.tolist())) == count
    np.testing.assert_array_equal(settled(groups, points), groups)


def test_the_nearest_mean() -> None:
    assert nearest_mean(np.array([1.0, 0]), np.array([[3.0, 0], [0, 0], [1, 1]])) == 1
