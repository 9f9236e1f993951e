"""A client's SGD followed on the server, and data sought that give its update."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.inversion.training import Pace, Search, Synthetic
from models.inversion.unrolled import Box, Network, Unrolled, distance
from models.schema import Schema, Vector

CLASSES, FEATURES = 3, 6
SCHEMA = Schema.of({"b": np.zeros(CLASSES, "f4"), "w": np.zeros((CLASSES, FEATURES), "f4")})
PACE = Pace(3, 0.5)


def linear(classes: int, features: int) -> Network:
    def logits(flat: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return x @ flat[classes:].view(classes, features).T + flat[:classes]

    return Network(logits)


def unrolled(low: float = -3.0, high: float = 3.0) -> Unrolled:
    bounds = (np.full(FEATURES, bound, np.float32) for bound in (low, high))
    box = Box((FEATURES,), *bounds)
    return Unrolled(linear(CLASSES, FEATURES), SCHEMA, box, CLASSES, lambda n, t: PACE)


def search(**other: object) -> Search:
    return Search(
        **{"iterations": 200, "rate": 0.1, "distance": "l1", "share": 1.0, "signed": True} | other
    )  # type: ignore[arg-type]


def examples(count: int, seed: int = 0, classes: int = 2) -> Synthetic:
    """Examples of the first classes, around centres that the seed says."""
    draw = np.random.default_rng(seed)
    centres = draw.normal(size=(CLASSES, FEATURES))
    chosen = draw.integers(0, classes, count)
    labels = np.full((count, CLASSES), -30, np.float32)
    labels[np.arange(count), chosen] = 30
    inputs = centres[chosen] + 0.3 * draw.normal(size=(count, FEATURES))
    return Synthetic(inputs.astype(np.float32), labels)


def weights(seed: int) -> Vector:
    numbers: Vector = np.random.default_rng(seed).normal(size=SCHEMA.size).astype(np.float32)
    return numbers


def off(a: Vector, b: Vector) -> float:
    return float(np.abs(a - b).sum())


def test_a_step_by_hand() -> None:
    """W = 0, x = (1, 2), soft label (3/4, 1/4): the gradient is (p - q) x^T with p = (1/2, 1/2)."""
    schema = Schema.of({"b": np.zeros(2, "f4"), "w": np.zeros((2, 2), "f4")})
    box = Box((2,), np.full(2, -9, "f4"), np.full(2, 9, "f4"))
    client = Unrolled(linear(2, 2), schema, box, 2, lambda n, t: PACE)
    data = Synthetic(np.array([[1, 2]], "f4"), np.array([[np.log(3), 0]], "f4"))
    start = np.zeros(6, np.float32)
    added = client.update(start, data, Pace(1, 0.4))
    np.testing.assert_allclose(added, [0.1, -0.1, 0.1, 0.2, -0.1, -0.2], atol=1e-7)
    again = client.update(start + added, data, Pace(1, 0.4))
    both = client.update(start, data, Pace(2, 0.4))
    np.testing.assert_allclose(both, added + again, atol=1e-7)


@pytest.mark.parametrize("kind", ["l1", "cosine"])
@pytest.mark.parametrize("signed", [True, False])
def test_data_are_found_that_give_the_update(kind: str, signed: bool) -> None:
    client, start = unrolled(), 0.1 * weights(1)
    wanted = client.update(start, examples(8), PACE)
    first = client.drawn(8, np.random.default_rng(0))
    found = client.recovered(start, wanted, PACE, first, search(distance=kind, signed=signed))
    before, after = (client.update(start, data, PACE) for data in (first, found))
    far = distance(torch.from_numpy(wanted), search(distance=kind))
    assert float(far(torch.from_numpy(after))) < 0.25 * float(far(torch.from_numpy(before)))
    again = client.recovered(start, wanted, PACE, first, search(distance=kind, signed=signed))
    np.testing.assert_array_equal(found.flat(), again.flat())


def test_what_they_give_now_is_nearer_to_the_truth_than_the_stale_update() -> None:
    """While a client trained, others took the model on; it has two of three classes.

    Not each time: many data give the same update. So over five clients together.
    """
    client, without, converted = unrolled(), 0.0, 0.0
    for seed in range(5):
        data, then = examples(8, seed, classes=2), 0.1 * weights(seed)
        now = then + client.update(then, examples(24, seed, classes=3), Pace(20, 0.5))
        stale, fresh = (client.update(start, data, PACE) for start in (then, now))
        first = client.drawn(8, np.random.default_rng(seed))
        found = client.recovered(then, stale, PACE, first, search())
        without += off(stale, fresh)
        converted += off(client.update(now, found, PACE), fresh)
    assert converted < 0.8 * without


def test_inputs_stay_what_inputs_can_be() -> None:
    client, start = unrolled(-0.5, 0.25), weights(1)
    wanted = client.update(start, examples(8), PACE)
    first = client.drawn(8, np.random.default_rng(0))
    found = client.recovered(start, wanted, PACE, first, search(iterations=20))
    assert first.inputs.min() == found.inputs.min() == -0.5
    assert first.inputs.max() == found.inputs.max() == 0.25


def test_the_best_of_a_search_is_kept() -> None:
    """A search that begins at the data themselves and can only leave them gives them back."""
    client, start, data = unrolled(), weights(1), examples(8)
    wanted = client.update(start, data, PACE)
    found = client.recovered(start, wanted, PACE, data, search(iterations=5, rate=1.0))
    np.testing.assert_array_equal(found.flat(), data.flat())


def test_distances_by_hand() -> None:
    wanted = torch.tensor([3.0, -1.0, 0.5, 0.0])
    added = torch.tensor([2.0, -1.0, 9.0, 9.0])
    assert float(distance(wanted, search(share=0.5))(added)) == pytest.approx(1 / 4)
    assert float(distance(wanted, search())(added)) == pytest.approx((1 + 8.5 + 9) / 4.5)
    half = distance(wanted, search(share=0.5, distance="cosine"))
    assert float(half(added)) == pytest.approx(1 - 7 / np.sqrt(10 * 5), abs=1e-6)
    assert float(half(2 * wanted)) == pytest.approx(0, abs=1e-6)


def test_fewer_steps_go_as_far() -> None:
    assert Pace(6, 0.1).capped(3) == Pace(3, pytest.approx(0.2))  # type: ignore[arg-type]
    assert Pace(2, 0.1).capped(3) == Pace(2, 0.1)


def test_data_as_one_vector() -> None:
    data = examples(8)
    copy = examples(8, 5).like(data.flat())
    np.testing.assert_array_equal(copy.inputs, data.inputs)
    np.testing.assert_array_equal(copy.labels, data.labels)
