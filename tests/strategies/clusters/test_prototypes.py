"""How many clusters prototypes have, and which centre is nearest."""

from __future__ import annotations

import numpy as np
import pytest

from strategies.aggregation.clusters.learners import (
    first_shares,
    fresh_learner,
    label_weights,
    match_clusters,
)
from strategies.aggregation.clusters.prototypes import choose_clusters, nearest_centre


def blobs(centres: int, each: int = 6, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Clients around centres that are far apart; client n belongs to centre n % centres."""
    draw = np.random.default_rng(1)
    middle = 10 * draw.normal(size=(centres, classes, classes))
    truth = np.arange(centres * each) % centres
    return middle[truth] + 0.1 * draw.normal(size=(len(truth), classes, classes)), truth


@pytest.mark.parametrize("count", [2, 3, 4, 6])
def test_the_silhouette_finds_the_number_of_clusters(count: int) -> None:
    points, truth = blobs(count)
    found = choose_clusters(points, np.ones(points.shape[:2], bool))
    assert found is not None
    assert len(found.centres) == count == max(found.silhouettes, key=found.silhouettes.__getitem__)
    assert sorted(found.silhouettes) == list(range(2, min(9, len(points) - 1) + 1))
    assert len({(a, b) for a, b in zip(truth, found.labels, strict=True)}) == count
    for number in range(count):
        own = points[truth == number].mean(axis=0)
        nearest = nearest_centre(own, np.ones(3, bool), found.centres)
        np.testing.assert_allclose(found.centres[nearest], own)


def test_the_number_of_clusters_can_be_fixed() -> None:
    points, _ = blobs(3)
    found = choose_clusters(points, np.ones(points.shape[:2], bool), count=2)
    assert found is not None
    assert len(found.centres) == 2


def test_few_or_equal_clients_tell_nothing_apart() -> None:
    points, _ = blobs(2, each=1)
    assert choose_clusters(points, np.ones((2, 3), bool)) is None
    same = np.ones((5, 3, 3))
    assert choose_clusters(same, np.ones((5, 3), bool)) is None
    assert choose_clusters(np.zeros((0, 3, 3)), np.zeros((0, 3), bool)) is None
    three, _ = blobs(3, each=1)
    found = choose_clusters(three, np.ones((3, 3), bool))
    assert found is not None
    assert list(found.silhouettes) == [2]


def test_absent_classes_make_no_clusters() -> None:
    """Zeros in the place of classes that a client lacks would sort clients by their label sets."""
    points, truth = blobs(2, each=10)
    present = np.ones(points.shape[:2], bool)
    rows = np.arange(len(points))
    present[rows, (rows // 2) % 3] = False  # each client lacks one class, in both clusters alike
    masked = np.where(present[:, :, None], points, 0.0)
    found = choose_clusters(masked, present)
    assert found is not None
    assert len(found.centres) == 2
    assert len({(a, b) for a, b in zip(truth, found.labels, strict=True)}) == 2
    naive = choose_clusters(masked, np.ones_like(present))
    assert naive is not None
    assert len(naive.centres) != 2


def test_the_nearest_centre_is_that_of_the_classes_there_are() -> None:
    centres = np.zeros((2, 3, 3))
    centres[1] = 1.0
    near_second = np.full((3, 3), 0.9)
    near_second[0] = -100.0
    assert nearest_centre(near_second, np.array([True, True, True]), centres) == 0
    assert nearest_centre(near_second, np.array([False, True, True]), centres) == 1


def test_clusters_keep_the_learner_that_most_of_their_clients_used() -> None:
    # Cluster 2 holds the clients of learner 0, cluster 0 those of learner 1; the others are new.
    pairs = [(2, 0), (2, 0), (0, 1), (0, 0), (0, 1)]
    matched = match_clusters(pairs, 4, [0, 1, 5, 6])
    assert (matched[2], matched[0]) == (0, 1)
    assert {matched[1], matched[3]} == {5, 6}
    assert match_clusters([], 2, [0, 3]) == {0: 0, 1: 3}
    assert match_clusters([(0, 9)], 1, [0]) == {0: 0}  # learner 9 is gone


def test_shares_and_label_weights_by_hand() -> None:
    np.testing.assert_allclose(first_shares(3, 1), [0.05, 0.9, 0.05])
    np.testing.assert_allclose(first_shares(1, 0), [1.0])
    np.testing.assert_allclose(
        label_weights(np.array([[1.0, 3.0], [5.0, 0.0]])),
        [[0.25, 0.75], [1 / (1 + 2e-9), 2e-9]],
        rtol=1e-8,
    )


def test_fresh_learners_differ_and_know_no_label() -> None:
    from models.schema import NamedArrays

    arrays = {
        "a.lora_A.weight": np.ones((2, 4), np.float32),
        "a.lora_B.weight": np.ones((3, 2), np.float32),
        "classifier.weight": np.ones((3, 3), np.float32),
        "classifier.bias": np.ones(3, np.float32),
    }
    first = NamedArrays.of(arrays, {"head": "classifier"})
    one, two = fresh_learner(first, 1), fresh_learner(first, 2)
    for learner in (one, two):
        assert not learner["a.lora_B.weight"].any()
        assert not learner["classifier.bias"].any()
        assert np.abs(learner["a.lora_A.weight"]).max() <= 0.5
        assert 0 < np.abs(learner["classifier.weight"]).max() < 0.1
    assert (one["a.lora_A.weight"] != two["a.lora_A.weight"]).all()
    np.testing.assert_array_equal(one.vector, fresh_learner(first, 1).vector)
    np.testing.assert_array_equal(first.vector, np.ones(first.schema.size))
    headless = NamedArrays.of({k: v for k, v in arrays.items() if "lora" in k})
    assert fresh_learner(headless, 1)["a.lora_B.weight"].any()
