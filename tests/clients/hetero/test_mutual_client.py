from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_rounds import RATE, Bench, one_hot, softmax, tiny

from clients.trainers import FedKDTrainer, FMLTrainer, SharedHeadTrainer
from clients.trainers.hetero.fml import divergence
from models.errors import ClientError
from models.schema import NamedArrays

HEAD = "base_model.model.classifier"
X = np.array([[1.0, 0.0, 2.0], [0.0, 1.0, -1.0], [1.0, 1.0, 0.0], [2.0, -1.0, 1.0]])
Y = np.array([0, 1, 2, 0])


def meme(scale: float = 1.0) -> NamedArrays:
    generator = np.random.default_rng(9)
    arrays = {
        f"shared.{HEAD}.weight": scale * generator.normal(size=(3, 3)),
        f"shared.{HEAD}.bias": scale * generator.normal(size=3),
    }
    return NamedArrays.of({k: v.astype(np.float32) for k, v in arrays.items()})


def test_each_model_learns_from_labels_and_the_other() -> None:
    trainer = FMLTrainer(alpha=0.6, beta=0.3)
    bench = Bench.of(trainer, tiny(3, 3), X, Y)
    start = meme()
    w, b = (bench.initial[f"{HEAD}.{p}"].astype(np.float64) for p in ("weight", "bias"))
    v, c = (start[f"shared.{HEAD}.{p}"].astype(np.float64) for p in ("weight", "bias"))
    done = trainer.train(bench.round(start))
    local, common = softmax(X @ w.T + b), softmax(X @ v.T + c)
    # The gradient of D_KL(p || softmax(z)) in z is softmax(z) - p, as that of the cross-entropy.
    of_local = (0.6 * (local - one_hot(Y)) + 0.4 * (local - common)) / 4
    of_meme = (0.3 * (common - one_hot(Y)) + 0.7 * (common - local)) / 4
    np.testing.assert_allclose(
        bench.kept.arrays[f"{HEAD}.weight"], w - RATE * of_local.T @ X, atol=1e-6
    )
    np.testing.assert_allclose(
        done.arrays[f"shared.{HEAD}.weight"], v - RATE * of_meme.T @ X, atol=1e-6
    )
    np.testing.assert_allclose(
        done.arrays[f"shared.{HEAD}.bias"], c - RATE * of_meme.sum(0), atol=1e-6
    )
    assert bench.kept.arrays.keys() == {f"{HEAD}.weight", f"{HEAD}.bias"}


def test_the_divergence_is_the_batch_mean_and_its_target_is_fixed() -> None:
    p = torch.tensor([[2.0, 0.0], [0.0, 0.0]], requires_grad=True)
    q = torch.tensor([[0.0, 0.0], [0.0, 0.0]], requires_grad=True)
    found = divergence(p, q)
    a = 1 / (1 + np.exp(-2))
    assert float(found.detach()) == pytest.approx(
        (a * np.log(2 * a) + (1 - a) * np.log(2 * (1 - a))) / 2, abs=1e-6
    )
    found.backward()
    assert p.grad is None
    assert float(divergence(q, q.detach()).abs()) < 1e-7


def test_the_client_predicts_by_its_own_model_whatever_the_meme_says() -> None:
    trainer = FMLTrainer()
    bench = Bench.of(trainer, tiny(3, 3), X, Y)
    batch = {"pixel_values": torch.from_numpy(X).float()}
    found = []
    for scale in (1.0, 5.0):
        bench.model.load(trainer.model_of(bench.round(meme(scale))).vector)
        with torch.no_grad():
            found.append(bench.model.module(**batch).logits)
    assert torch.equal(*found)


def test_models_that_read_other_inputs_are_refused() -> None:
    own, common = tiny(3, 3), tiny(3, 3)
    own.module.config.image_size, common.module.config.image_size = 32, 28
    extension = FMLTrainer().extension()
    with pytest.raises(ClientError, match="image_size is 32, the run's model has 28"):
        extension.extend(own, lambda: common, 0)


def test_representation_and_shared_head_are_trained_together() -> None:
    trainer = SharedHeadTrainer(features=2)
    bench = Bench.of(trainer, tiny(3, 3), X, Y)
    generator = np.random.default_rng(4)
    start = NamedArrays.of(
        {
            "shared.weight": generator.normal(size=(3, 2)).astype(np.float32),
            "shared.bias": generator.normal(size=3).astype(np.float32),
        }
    )
    p = bench.initial["personal.projection"].astype(np.float64)
    w, b = (start[f"shared.{k}"].astype(np.float64) for k in ("weight", "bias"))
    done = trainer.train(bench.round(start))
    wrong = (softmax(X @ p.T @ w.T + b) - one_hot(Y)) / 4
    np.testing.assert_allclose(
        done.arrays["shared.weight"], w - RATE * wrong.T @ (X @ p.T), atol=1e-6
    )
    np.testing.assert_allclose(done.arrays["shared.bias"], b - RATE * wrong.sum(0), atol=1e-6)
    own = bench.kept.arrays
    np.testing.assert_allclose(own["personal.projection"], p - RATE * w.T @ wrong.T @ X, atol=1e-6)
    # The model's own head is out of use, and stays as it was.
    np.testing.assert_array_equal(own[f"{HEAD}.weight"], bench.initial[f"{HEAD}.weight"])


def kd_gradients(
    w: np.ndarray, b: np.ndarray, v: np.ndarray, c: np.ndarray, w_h: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of W of mentor and mentee, and of W_h; the features of both are the inputs."""
    t, s = softmax(X @ w.T + b), softmax(X @ v.T + c)
    rows = np.arange(4)
    l_t, l_s = -np.log(t[rows, Y]).mean(), -np.log(s[rows, Y]).mean()
    both = l_t + l_s
    gap = X @ w_h.T - X
    mse = (gap**2).mean()
    kl_t = (s * np.log(s / t)).sum(1).mean()
    kl_s = (t * np.log(t / s)).sum(1).mean()
    # d/dz (c + q / (c + d)) = c' + q' / (c + d) - q c' / (c + d)^2
    of_t = (t - one_hot(Y)) / 4 * (1 - (kl_t + mse) / both**2) + (t - s) / 4 / both
    of_s = (s - one_hot(Y)) / 4 * (1 - (kl_s + mse) / both**2) + (s - t) / 4 / both
    return of_t.T @ X, of_s.T @ X, 2 * gap.T @ X / gap.size / both


@pytest.mark.parametrize("clip", [0.0, 0.2])
def test_mentor_and_mentee_by_hand(clip: float) -> None:
    trainer = FedKDTrainer(clip=clip)
    bench = Bench.of(trainer, tiny(3, 3), X, Y)
    start = meme()
    own = bench.initial
    w, b = (own[f"{HEAD}.{p}"].astype(np.float64) for p in ("weight", "bias"))
    v, c = (start[f"shared.{HEAD}.{p}"].astype(np.float64) for p in ("weight", "bias"))
    w_h = own["personal.W_h"].astype(np.float64)
    of_t, of_s, of_h = kd_gradients(w, b, v, c, w_h)
    done = trainer.train(bench.round(start))
    kept = bench.kept.arrays
    assert kept.keys() == {f"{HEAD}.weight", f"{HEAD}.bias", "personal.W_h"}
    steps = {
        "mentor": (own, kept, (f"{HEAD}.weight", f"{HEAD}.bias", "personal.W_h")),
        "mentee": (start, done.arrays, (f"shared.{HEAD}.weight", f"shared.{HEAD}.bias")),
    }
    if clip:
        for before, after, keys in steps.values():
            step = np.concatenate([(after[k] - before[k]).reshape(-1) for k in keys])
            assert np.linalg.norm(step) == pytest.approx(RATE * clip, rel=1e-5)
        return
    np.testing.assert_allclose(kept[f"{HEAD}.weight"], w - RATE * of_t, atol=2e-6)
    np.testing.assert_allclose(done.arrays[f"shared.{HEAD}.weight"], v - RATE * of_s, atol=2e-6)
    np.testing.assert_allclose(kept["personal.W_h"], w_h - RATE * of_h, atol=2e-6)


def test_two_models_without_error_divide_by_no_zero() -> None:
    trainer = FedKDTrainer()
    bench = Bench.of(trainer, tiny(3, 3), X, Y, steps=2)
    sure = meme(1000.0)
    own = bench.initial.replace(bench.initial.vector * 1000)
    object.__setattr__(bench, "initial", own)
    done = trainer.train(bench.round(sure))
    assert np.isfinite(done.arrays.vector).all()
