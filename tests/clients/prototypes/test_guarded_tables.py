"""What leaves a client: small classes stay, rows are clipped, noise has the stated size."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from clients.objectives.prototypes.collecting import ClassSums
from clients.trainers.prototypes.nearest import Nearest
from models.randomness import derive_generator
from strategies.prototypes.fedproto import FedProto


def work(seed: int = 0) -> Any:
    return SimpleNamespace(generator=lambda purpose: derive_generator(seed, purpose))


def sums() -> ClassSums:
    found = ClassSums((3, 2))
    found.add(torch.tensor([[3.0, 4.0], [3.0, 4.0], [9.0, 9.0]]), torch.tensor([0, 0, 2]))
    return found


TARGETS = np.array([0, 0, 2])


def test_a_class_of_one_example_is_not_sent() -> None:
    table = Nearest().released(sums(), TARGETS, work())
    np.testing.assert_array_equal(table["present"], [1, 0, 0])
    np.testing.assert_array_equal(table["prototypes"], [[3, 4], [0, 0], [0, 0]])
    every = Nearest.model_validate({"min-examples-per-class": 1}).released(sums(), TARGETS, work())
    np.testing.assert_array_equal(every["present"], [1, 0, 1])
    # Examples count, not how often they were met in several epochs.
    twice = sums()
    twice.add(torch.tensor([[9.0, 9.0]]), torch.tensor([2]))
    assert Nearest().released(twice, TARGETS, work())["present"][2] == 0


def test_rows_are_clipped_to_a_length() -> None:
    table = Nearest(clip=2.5).released(sums(), TARGETS, work())
    np.testing.assert_allclose(table["prototypes"][0], [1.5, 2.0])
    longer = Nearest(clip=50.0).released(sums(), TARGETS, work())
    np.testing.assert_allclose(longer["prototypes"][0], [3.0, 4.0])


def test_noise_is_normal_in_units_of_the_clip_and_the_same_in_a_retry() -> None:
    half = Nearest(clip=2.5, noise=0.5)
    clipped = Nearest(clip=2.5).released(sums(), TARGETS, work())["prototypes"][0]
    found = np.array(
        [
            half.released(sums(), TARGETS, work(seed))["prototypes"][0] - clipped
            for seed in range(800)
        ]
    )
    assert found.std() == pytest.approx(0.5 * 2.5, rel=0.05)
    assert abs(found.mean()) < 0.1
    again = half.released(sums(), TARGETS, work(3))
    np.testing.assert_array_equal(again.vector, half.released(sums(), TARGETS, work(3)).vector)
    # Absent classes stay zeros: no noise tells of them.
    assert not again["prototypes"][1:].any()


def test_noise_without_a_limit_is_refused() -> None:
    with pytest.raises(ValidationError, match="give clip a value above 0"):
        FedProto(noise=1.0)
