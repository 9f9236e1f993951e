from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_rounds import RATE, Bench, one_hot, softmax, tiny

from clients.objectives import FedProx, Objective
from clients.trainers import PFedLoRATrainer
from models.errors import ClientError
from models.schema import NamedArrays

HEAD = "base_model.model.classifier"
X = np.array([[1.0, 0.0, 2.0], [0.0, 1.0, -1.0], [1.0, 1.0, 0.0], [2.0, -1.0, 1.0]])
Y = np.array([0, 1, 2, 0])


def omega(width: int) -> NamedArrays:
    generator = np.random.default_rng(5)
    arrays = {
        "shared.A": generator.normal(size=(2, width)),
        "shared.B": generator.normal(size=(3, 2)),
    }
    return NamedArrays.of({k: v.astype(np.float32) for k, v in arrays.items()}, {"kind": "p"})


@pytest.mark.parametrize("mu", [0.3, 1.0])
def test_the_two_stages_by_hand(mu: float) -> None:
    trainer = PFedLoRATrainer(mu=mu, rank=2, features=3)
    bench = Bench.of(trainer, tiny(3, 3), X, Y)
    start = omega(3)
    before = bench.initial
    w, b = (before[f"{HEAD}.{part}"].astype(np.float64) for part in ("weight", "bias"))
    a_, b_ = (start[k].astype(np.float64) for k in ("shared.A", "shared.B"))
    done = trainer.train(bench.round(start))
    # 1: omega is frozen, and the features do not depend on anything: only the head moves.
    wrong = (softmax(X @ w.T + b) - one_hot(Y)) / len(Y)
    own = bench.kept.arrays
    assert own.keys() == {f"{HEAD}.weight", f"{HEAD}.bias"}
    head = w - RATE * (1 - mu) * wrong.T @ X
    np.testing.assert_allclose(own[f"{HEAD}.weight"], head, atol=1e-6)
    np.testing.assert_allclose(own[f"{HEAD}.bias"], b - RATE * (1 - mu) * wrong.sum(0), atol=1e-6)
    # 2: the model is frozen, omega moves with the gradient of mu times its own loss.
    z = X @ a_.T @ b_.T
    wrong = mu * (softmax(z) - one_hot(Y)) / len(Y)
    np.testing.assert_allclose(done.arrays["shared.B"], b_ - RATE * wrong.T @ (X @ a_.T), atol=1e-6)
    np.testing.assert_allclose(done.arrays["shared.A"], a_ - RATE * b_.T @ wrong.T @ X, atol=1e-6)
    cross = -np.log(softmax(z)[np.arange(4), Y]).mean()
    own_cross = -np.log(softmax(X @ head.T + own[f"{HEAD}.bias"])[np.arange(4), Y]).mean()
    assert done.metrics["train_loss"] == pytest.approx(mu * cross + (1 - mu) * own_cross, abs=1e-6)
    assert done.arrays.schema == start.schema


def test_a_model_of_another_width_learns_its_own_projection() -> None:
    trainer = PFedLoRATrainer(mu=0.4, rank=2, features=5)
    bench = Bench.of(trainer, tiny(3, 3), X, Y)
    start = omega(5)
    p = bench.initial["personal.projection"].astype(np.float64)
    assert p.shape == (5, 3)
    a_, b_ = (start[k].astype(np.float64) for k in ("shared.A", "shared.B"))
    trainer.train(bench.round(start))
    wrong = 0.4 * (softmax(X @ p.T @ a_.T @ b_.T) - one_hot(Y)) / len(Y)
    np.testing.assert_allclose(
        bench.kept.arrays["personal.projection"],
        p - RATE * (b_ @ a_).T @ wrong.T @ X,
        atol=1e-6,
    )
    # The next round goes on from it, under whatever omega comes then.
    again = trainer.model_of(bench.round(omega(5), 2))
    np.testing.assert_array_equal(
        again["personal.projection"], bench.kept.arrays["personal.projection"]
    )


def test_the_prediction_mixes_both_paths() -> None:
    trainer = PFedLoRATrainer(mu=0.3, rank=2, features=3)
    bench = Bench.of(trainer, tiny(3, 3), X, Y)
    start = omega(3)
    whole = trainer.model_of(bench.round(start))
    bench.model.load(whole.vector)
    with torch.no_grad():
        logits = bench.model.module(pixel_values=torch.from_numpy(X).float()).logits.numpy()
    own = X @ whole[f"{HEAD}.weight"].T + whole[f"{HEAD}.bias"]
    shared = X @ start["shared.A"].T @ start["shared.B"].T
    np.testing.assert_allclose(logits, 0.3 * shared + 0.7 * own, atol=1e-6)


def test_an_adapter_below_the_head_is_trained_with_the_model_only() -> None:
    trainer = PFedLoRATrainer(mu=0.5, rank=2, features=3)
    bench = Bench.of(trainer, tiny(3, 3, "lora"), X, Y, steps=3)
    start = omega(3)
    before = bench.initial
    trainer.train(bench.round(start))
    moved = {k for k, v in bench.kept.arrays.items() if not np.array_equal(v, before[k])}
    assert moved == bench.kept.arrays.keys()
    assert any("lora_A" in key for key in moved)


def test_the_runs_pull_counts_and_a_loss_of_its_own_is_refused() -> None:
    trainer = PFedLoRATrainer(mu=0.5, rank=2, features=3)

    def train(objective: Objective) -> np.ndarray:
        bench = Bench.of(trainer, tiny(3, 3), X, Y, steps=4, objective=objective)
        start = omega(3)
        return trainer.train(bench.round(start)).arrays.vector - start.vector

    assert np.linalg.norm(train(FedProx(mu=0.8))) < 0.9 * np.linalg.norm(train(Objective()))

    class Other(Objective):
        def loss(self, model, batch, targets):  # type: ignore[no-untyped-def]
            return model.flat.sum()

    with pytest.raises(ClientError, match="brings its own loss"):
        train(Other())
