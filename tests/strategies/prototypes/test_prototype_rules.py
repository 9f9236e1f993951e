"""The pure rules on prototypes, against numbers by hand and against PyTorch's own gradients."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.errors import ConfigurationError
from models.prototypes.tables import last_layer_keys, nearest_distances, table_of
from models.randomness import derive_generator
from models.schema import NamedArrays
from strategies.aggregation.prototypes.anchors import first_anchors, moved
from strategies.aggregation.prototypes.generator import (
    Generator,
    adaptive_margin,
    server_loss,
    trained,
)
from strategies.aggregation.prototypes.linear_head import LinearHead
from strategies.aggregation.prototypes.linear_head import trained as trained_head
from strategies.aggregation.prototypes.means import ClassMean


def test_every_client_that_has_a_class_counts_once() -> None:
    mean = ClassMean((3, 2))
    mean.add(np.array([[1.0, 0], [4, 4], [9, 9]]), np.array([True, True, False]))
    mean.add(np.array([[3.0, 2], [7, 7], [9, 9]]), np.array([True, False, False]))
    np.testing.assert_array_equal(mean.result(), [[2, 1], [4, 4], [0, 0]])
    np.testing.assert_array_equal(mean.clients, [2, 1, 0])
    np.testing.assert_array_equal(mean.present, [True, True, False])
    # Squared distances from P: 1 + 1 and 1 + 1 in class 0, none in class 1; three rows.
    assert mean.spread() == pytest.approx(math.sqrt(4 / 3))


@given(st.integers(0, 2**32), st.integers(1, 4))
def test_streams_may_be_cut_anywhere(seed: int, cut: int) -> None:
    numbers = np.random.default_rng(seed)
    tables = [(numbers.normal(size=(4, 3)), numbers.random(4) < 0.5) for _ in range(5)]
    one, first, second = ClassMean((4, 3)), ClassMean((4, 3)), ClassMean((4, 3))
    for place, (values, present) in enumerate(tables):
        one.add(values, present)
        (first if place < cut else second).add(values, present)
    first.merge(second)
    np.testing.assert_allclose(first.result(), one.result(), atol=1e-12)
    assert first.spread() == pytest.approx(one.spread(), abs=1e-6)


def test_anchors_are_the_projected_noise() -> None:
    """The projector as PyTorch has it, in training mode, with the same numbers."""
    found = first_anchors(5, 8, derive_generator(3, "test"))
    same = derive_generator(3, "test")
    rows = torch.from_numpy(same.standard_normal((5, 8)))
    layers: list[torch.nn.Module] = []
    for _ in range(2):
        linear = torch.nn.Linear(8, 8, dtype=torch.float64)
        linear.weight.data = torch.from_numpy(same.uniform(-(8**-0.5), 8**-0.5, (8, 8)))
        linear.bias.data = torch.from_numpy(same.uniform(-(8**-0.5), 8**-0.5, 8))
        layers += [linear, torch.nn.BatchNorm1d(8, dtype=torch.float64), torch.nn.ReLU()]
    expected = torch.nn.Sequential(*layers).train()(rows).detach().numpy()
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert found.dtype == np.float32
    assert found.min() >= 0 < found.max()


def test_anchors_move_a_ten_thousandth_and_absent_ones_stay() -> None:
    s = np.array([[1.0, 2.0], [3.0, 4.0]])
    p = np.array([[11.0, 2.0], [99.0, 99.0]])
    found = moved(s, p, np.array([True, False]), 0.9999)
    np.testing.assert_allclose(found, [[1.001, 2.0], [3.0, 4.0]], rtol=1e-14)


def test_nearest_distances() -> None:
    rows = np.array([[0.0, 0], [3, 4], [0, 1]])
    np.testing.assert_allclose(nearest_distances(rows), [1, math.sqrt(18), 1])
    assert np.isinf(nearest_distances(rows[:1])).all()
    assert nearest_distances(rows[:0]).shape == (0,)


def test_rows_of_absent_classes_travel_as_zeros() -> None:
    table = table_of(np.full((2, 3), np.nan), np.array([False, False]))
    np.testing.assert_array_equal(table["prototypes"], np.zeros((2, 3)))
    # C x D numbers and a mark for each class: what is on the wire.
    assert table.vector.nbytes == (2 * 3 + 2) * 4


def test_the_last_layer_is_found_behind_a_projection() -> None:
    zeros = {
        "m.classifier.0.weight": np.zeros((3, 5), np.float32),
        "m.classifier.1.weight": np.zeros((3, 3), np.float32),
        "m.classifier.1.bias": np.zeros(3, np.float32),
        "m.query.lora_A.weight": np.zeros((3, 5), np.float32),
    }
    facts = {"labels": 3, "head": "classifier.0,classifier.1"}
    schema = NamedArrays.of(zeros, facts).schema
    assert last_layer_keys(schema) == ("m.classifier.1.weight", "m.classifier.1.bias")
    with pytest.raises(ConfigurationError, match="fedsa > fedper"):
        last_layer_keys(schema.only(["m.query.lora_A.weight"]))


# ---- FedTGP ----------------------------------------------------------------------------------


def network(seed: int = 0) -> Generator:
    return Generator.start(4, 3, np.random.default_rng(seed))


def test_the_margin_is_the_largest_of_the_nearest_distances_up_to_tau() -> None:
    means = np.array([[0.0, 0], [1, 0], [0, 5], [7, 7]])
    present = np.array([True, True, True, False])
    assert adaptive_margin(means, present, 100.0) == 5.0
    assert adaptive_margin(means, present, 2.0) == 2.0
    assert adaptive_margin(means, np.array([True, False, False, False]), 100.0) == 100.0


def test_the_gradient_of_the_generator_is_that_of_pytorch() -> None:
    mine = network()
    numbers = np.random.default_rng(1)
    p, classes, margin = numbers.normal(size=(6, 3)), np.array([0, 1, 2, 3, 3, 0]), 1.7
    loss, by_t = server_loss(mine.prototypes(), p, classes, margin)
    gradient = mine.backward(by_t)
    parts = {
        name: torch.from_numpy(getattr(mine, name).copy()).requires_grad_()
        for name in ("embedding", "weight_1", "bias_1", "weight_2", "bias_2")
    }
    hidden = torch.relu(parts["embedding"] @ parts["weight_1"].T + parts["bias_1"])
    t = hidden @ parts["weight_2"].T + parts["bias_2"]
    own = torch.nn.functional.one_hot(torch.from_numpy(classes), 4).double()
    distance = torch.cdist(torch.from_numpy(p), t) + margin * own
    expected = torch.nn.functional.cross_entropy(-distance, torch.from_numpy(classes))
    expected.backward()
    assert loss == pytest.approx(float(expected.detach()), rel=1e-12)
    for name, part in parts.items():
        np.testing.assert_allclose(getattr(gradient, name), part.grad, atol=1e-12, err_msg=name)


def test_a_step_on_the_server_by_hand() -> None:
    """One class right at its own prototype: no distance, no gradient from it, and no NaN."""
    t = np.array([[1.0, 0.0], [0.0, 0.0]])
    loss, gradient = server_loss(t, np.array([[1.0, 0.0]]), np.array([0]), 0.5)
    # Distances 0 + 0.5 and 1: CE = log(1 + e^(-1 + 0.5)).
    assert loss == pytest.approx(math.log(1 + math.exp(-0.5)))
    share = math.exp(-1) / (math.exp(-1) + math.exp(-0.5))
    np.testing.assert_allclose(gradient, [[0, 0], [share, 0]], atol=1e-12)


def test_training_brings_prototypes_of_a_class_together_and_pushes_classes_apart() -> None:
    numbers = np.random.default_rng(2)
    classes = np.repeat(np.arange(4), 5)
    p = 3 * np.eye(4, 16)[classes] + 0.1 * numbers.normal(size=(20, 16))
    start = Generator.start(4, 16, np.random.default_rng(0))
    after, loss = trained(start, p, classes, 1.0, epochs=200, batch=10, rate=0.1, order=numbers)
    before, _ = server_loss(start.prototypes(), p, classes, 1.0)
    assert loss < 0.5 * before
    nearest = np.linalg.norm(p[:, None] - after.prototypes()[None], axis=2).argmin(axis=1)
    np.testing.assert_array_equal(nearest, classes)


def test_a_network_comes_back_from_its_arrays() -> None:
    mine = network(4)
    back = Generator.of(mine.arrays(), (4, 3))
    np.testing.assert_array_equal(back.prototypes(), mine.prototypes())


# ---- the head on the server --------------------------------------------------------------------


def test_the_gradient_of_the_head_is_that_of_pytorch() -> None:
    numbers = np.random.default_rng(5)
    head = LinearHead(numbers.normal(size=(4, 3)), numbers.normal(size=4))
    f, classes = numbers.normal(size=(7, 3)), np.array([0, 1, 2, 3, 0, 0, 1])
    weight, bias = (torch.from_numpy(x.copy()).requires_grad_() for x in (head.weight, head.bias))
    logits = torch.from_numpy(f) @ weight.T + bias
    torch.nn.functional.cross_entropy(logits, torch.from_numpy(classes)).backward()
    found = head.gradient(f, classes)
    np.testing.assert_allclose(found.weight, weight.grad, atol=1e-12)
    np.testing.assert_allclose(found.bias, bias.grad, atol=1e-12)


def test_a_head_by_hand_and_without_a_bias() -> None:
    head = LinearHead(np.zeros((2, 1)), np.zeros(2))
    f, classes = np.array([[2.0]]), np.array([1])
    options = {"epochs": 1, "batch": 10, "rate": 0.1, "order": np.random.default_rng(0)}
    found = trained_head(head, f, classes, **options)
    # The error is (1/2, -1/2), times f = 2 for the weight.
    np.testing.assert_allclose(found.weight, [[-0.1], [0.1]])
    np.testing.assert_allclose(found.bias, [-0.05, 0.05])
    bare = trained_head(head, f, classes, **options, with_bias=False)
    np.testing.assert_array_equal(bare.bias, [0, 0])
