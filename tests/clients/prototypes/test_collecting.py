"""What a client minimises and collects, on a real model: FedSA's loss by its equation, timings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from clients.bases import assemble
from clients.objectives import CrossEntropy, FedProx, Objective
from clients.objectives.prototypes.augmented import AlongGeometry
from clients.objectives.prototypes.collecting import Collecting
from clients.objectives.prototypes.terms import Distillation, Pull, TowardsAnchors
from models.adapted import AdaptedModel
from models.features import features, head

LABELS = tuple(str(i) for i in range(10))
Y = torch.tensor([3, 3, 0, 7])


@pytest.fixture
def model(vit_folder: Path) -> AdaptedModel:
    built = assemble(
        vit_folder,
        kind="image",
        labels=LABELS,
        base="b",
        adapter="lora",
        adapter_args={},
        seed=0,
        device="cpu",
        feature_dim=6,
    )
    # B of LoRA begins at zero; a step away from there everything has a gradient.
    numbers = np.random.default_rng(0).normal(scale=0.3, size=built.schema.size)
    built.load(numbers.astype(np.float32))
    built.module.eval()
    return built


@pytest.fixture
def batch() -> Mapping[str, torch.Tensor]:
    pixels = np.random.default_rng(1).normal(size=(4, 1, 28, 28))
    return {"pixel_values": torch.from_numpy(pixels.astype(np.float32))}


def rows() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(2).random((10, 6)).astype(np.float32) * 2)


def anchored() -> TowardsAnchors:
    terms = TowardsAnchors(weight=10.0, mcl=0.5, cc=2.0, margin=0.8)
    terms.towards(rows(), torch.ones(10, dtype=torch.bool))
    terms.beside(CrossEntropy(), (10, 6), "all-epochs", 1)
    return terms


def test_the_loss_of_fedsa_is_its_equation(
    model: AdaptedModel, batch: Mapping[str, torch.Tensor]
) -> None:
    found = float(anchored().loss(model, batch, Y).detach())
    with torch.no_grad():
        f = features(model, batch).numpy().astype(np.float64)
        logits = head(model, features(model, batch)).numpy().astype(np.float64)
        calibration = head(model, rows()).numpy().astype(np.float64)
    s, y = rows().numpy().astype(np.float64), Y.numpy()

    def ce(z: np.ndarray, target: np.ndarray) -> float:
        return float(np.mean(np.log(np.exp(z).sum(1)) - z[np.arange(len(z)), target]))

    distance = np.sqrt(((f[:, None] - s[None]) ** 2).sum(-1))
    distance[np.arange(4), y] += 0.8
    expected = (
        ce(logits, y)
        + 2.0 * ce(calibration, np.arange(10))
        + 10.0 * np.mean((f - s[y]) ** 2)
        + 0.5 * ce(-distance, y)
    )
    assert found == pytest.approx(expected, rel=1e-5)


def test_the_gradient_reaches_adapter_projection_and_head(
    model: AdaptedModel, batch: Mapping[str, torch.Tensor]
) -> None:
    gradient = model.flat.grad
    assert gradient is not None
    gradient.zero_()
    anchored().loss(model, batch, Y).backward()
    start = model.read()
    chosen = {
        key: int(np.abs(gradient[place].numpy()).argmax()) + place.start
        for key, (place, _) in model.schema.slices.items()
    }
    for key, place in chosen.items():
        slopes = []
        for step in (1e-2, -1e-2):
            moved = start.copy()
            moved[place] += step
            model.load(moved)
            slopes.append(float(anchored().loss(model, batch, Y).detach()))
        slope = (slopes[0] - slopes[1]) / 2e-2
        assert slope == pytest.approx(float(gradient[place]), rel=0.03, abs=2e-3), key


@pytest.mark.parametrize("collect", ["all-epochs", "last-epoch"])
def test_what_is_collected_when(
    model: AdaptedModel, batch: Mapping[str, torch.Tensor], collect: str
) -> None:
    """Two epochs of two batches; between them the model moves, and prototypes are of then."""
    objective = Collecting()
    objective.beside(CrossEntropy(), (10, 6), collect, 2)  # type: ignore[arg-type]
    start, met = model.read(), []
    for step in range(4):
        model.load(start * (1 + 0.1 * step))
        part = slice(0, 2) if step % 2 == 0 else slice(2, 4)
        some = {"pixel_values": batch["pixel_values"][part]}
        with torch.no_grad():
            met.append(features(model, some).numpy())
        objective.loss(model, some, Y[part])
    epochs = [np.concatenate(met[:2]), np.concatenate(met[2:])]
    counted = epochs if collect == "all-epochs" else epochs[1:]
    for c, places in ((3, [0, 1]), (0, [2]), (7, [3])):
        expected = np.mean([epoch[places] for epoch in counted], axis=(0, 1))
        np.testing.assert_allclose(objective.sums.means()[c], expected, atol=1e-5)
    np.testing.assert_array_equal(np.flatnonzero(objective.sums.examples), [0, 3, 7])


def test_without_prototypes_the_first_round_is_plain_training(
    model: AdaptedModel, batch: Mapping[str, torch.Tensor]
) -> None:
    plain = CrossEntropy().loss(model, batch, Y)
    nothing = torch.zeros(10, dtype=torch.bool)
    for terms in (Pull(weight=10.0), Distillation(weight=10.0)):
        terms.towards(torch.zeros(10, 10 if terms.of_logits else 6), nothing)
        terms.beside(CrossEntropy(), (10, 6 if not terms.of_logits else 10), "all-epochs", 1)
        torch.testing.assert_close(terms.loss(model, batch, Y), plain)


class Doubled(Objective):
    def loss(
        self, model: AdaptedModel, batch: Mapping[str, torch.Tensor], targets: torch.Tensor
    ) -> torch.Tensor:
        return 2 * super().loss(model, batch, targets)


def test_the_objective_of_the_run_stays_inside(
    model: AdaptedModel, batch: Mapping[str, torch.Tensor]
) -> None:
    objective = Collecting()
    objective.beside(Doubled(), (10, 6), "all-epochs", 1)
    plain = CrossEntropy().loss(model, batch, Y)
    torch.testing.assert_close(objective.loss(model, batch, Y), 2 * plain)
    gradient = model.flat.grad
    assert gradient is not None
    gradient.zero_()
    objective.beside(FedProx(mu=0.5), (10, 6), "all-epochs", 1)
    objective.adjust_gradient(model, torch.zeros_like(model.flat))
    torch.testing.assert_close(gradient, 0.5 * model.flat.detach())


def test_drawn_features_lie_along_the_geometry(
    model: AdaptedModel, batch: Mapping[str, torch.Tensor]
) -> None:
    flat = AlongGeometry(draws=2).along(torch.zeros(10, 3, 6), CrossEntropy())
    plain = CrossEntropy().loss(model, batch, Y)
    torch.testing.assert_close(flat.loss(model, batch, Y), plain)
    wide = AlongGeometry(draws=2).along(torch.ones(10, 3, 6), CrossEntropy())
    torch.manual_seed(0)
    first = wide.loss(model, batch, Y)
    torch.manual_seed(0)
    again = wide.loss(model, batch, Y)
    assert float(again.detach()) == float(first.detach()) != float(plain.detach())


def test_another_loss_keeps_its_place_among_drawn_features(
    model: AdaptedModel, batch: Mapping[str, torch.Tensor]
) -> None:
    geometry = torch.from_numpy(np.random.default_rng(3).random((10, 2, 6)).astype(np.float32))

    def of(inner: Objective) -> float:
        torch.manual_seed(5)
        objective = AlongGeometry(draws=3).along(geometry, inner)
        return float(objective.loss(model, batch, Y).detach())

    plain = float(CrossEntropy().loss(model, batch, Y).detach())
    # One of four counts for the real features: 2 CE in place of CE.
    assert of(Doubled()) - of(CrossEntropy()) == pytest.approx(plain / 4, rel=1e-4)
