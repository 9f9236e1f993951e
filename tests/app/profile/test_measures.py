"""How clients differ, in numbers, against what chance alone would give."""

from __future__ import annotations

import numpy as np
import pytest

from app.profile.advice import Profile, advise
from app.profile.measures import (
    Measured,
    concept_conflict,
    feature_skew,
    label_skew,
    size_skew,
)


@pytest.fixture
def generator() -> np.random.Generator:
    return np.random.default_rng(3)


def test_label_skew_is_the_mean_total_variation(generator: np.random.Generator) -> None:
    apart = label_skew(np.array([[50, 0], [0, 50]]), generator)
    assert apart.value == 0.5
    assert apart.chance < 0.1
    alike = label_skew(np.array([[50, 50], [500, 500]]), generator)
    assert alike.value == 0.0
    assert alike.excess == 0.0


def test_small_clients_differ_by_chance(generator: np.random.Generator) -> None:
    """Two rows a client cannot hold ten labels evenly, and that is no skew."""
    dealt = generator.permutation(np.repeat(np.arange(10), 40)).reshape(200, 2)
    counts = np.stack([np.bincount(row, minlength=10) for row in dealt])
    found = label_skew(counts, generator)
    assert found.value > 0.7
    assert found.excess < 0.05


def test_size_skew_is_ginis_coefficient() -> None:
    assert size_skew([10, 10, 10]) == pytest.approx(0.0)
    assert size_skew([0, 0, 0, 12]) == pytest.approx(0.75)
    assert size_skew([1, 3]) == pytest.approx(0.25)


def rows(generator: np.random.Generator, shift: float, swap: bool = False) -> tuple:
    """Two clients, two labels; the second client's features are shifted, or its names swapped."""
    owners = np.repeat([0, 1], 200)
    truth = np.tile([0, 1], 200)
    features = generator.normal(size=(400, 5))
    features[:, 0] += 8 * truth
    features[owners == 1, 1] += shift
    labels = np.where((owners == 1) & swap, 1 - truth, truth)
    return features, labels, owners


def test_feature_skew_sees_the_same_label_look_different(generator: np.random.Generator) -> None:
    shifted = feature_skew(*rows(generator, shift=3.0), generator)
    # Half of the shift either way: 2.25 of 5 + 2.25 in all.
    assert shifted.value == pytest.approx(2.25 / 7.25, abs=0.05)
    assert feature_skew(*rows(generator, shift=0.0), generator).excess < 0.02


def test_holding_other_labels_is_no_feature_skew(generator: np.random.Generator) -> None:
    features, labels, _ = rows(generator, shift=0.0)
    assert feature_skew(features, labels, labels.copy(), generator).excess < 0.02


def test_concept_conflict_sees_names_swapped_and_nothing_else(
    generator: np.random.Generator,
) -> None:
    assert concept_conflict(*rows(generator, 0.0, swap=True)) == pytest.approx(1.0, abs=0.01)
    assert abs(concept_conflict(*rows(generator, 0.0))) < 0.02
    features, labels, _ = rows(generator, 0.0)
    assert concept_conflict(features, labels, labels.copy()) == 0.0  # no two labels in common


def families(**known: object) -> list[str]:
    plain = {"clients": 10, "labels": Measured(0.1, 0.1), "sizes": 0.1, "smallest": 50}
    return [one.family for one in advise(Profile(**{**plain, **known}))]  # type: ignore[arg-type]


def test_clients_that_are_alike_get_plain_averaging() -> None:
    assert families(availability=1.0) == ["Plain averaging"]


@pytest.mark.parametrize(
    ("known", "family"),
    [
        ({"labels": Measured(0.6, 0.1)}, "A personal head"),
        ({"concepts": 0.5}, "Clusters"),
        ({"features": Measured(0.3, 0.01)}, "Clusters or personal parts"),
        ({"availability": 0.4}, "Remembered updates"),
        ({"availability": 0.9, "uneven": True}, "Remembered updates"),
        ({"models": True}, "Prototypes and shared parts"),
        ({"ranks": True}, "LoRA of different ranks"),
        ({"groups": ("sex",)}, "Adapters by group"),
        ({"drifts": True}, "Dynamic clusters"),
        ({"sizes": 0.7}, "Weights that small clients survive"),
    ],
)
def test_each_difference_names_its_family(known: dict[str, object], family: str) -> None:
    assert families(**known)[0] == family
    assert families(**known)[-1] == "Plain averaging"
