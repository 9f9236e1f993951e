from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score

from clients.evaluation import evaluate, macro_f1
from clients.objectives import CrossEntropy, FedProx
from clients.plan import Recipe, optimizer_arg_errors
from clients.preparation import ImageInputs
from clients.training import (
    Prepared,
    Trained,
    batches,
    losses_an_epoch,
    make_optimizer,
    train,
)
from models.adapted import AdaptedModel
from models.adapters import make_adapter
from models.errors import ClientError
from models.randomness import derive_generator
from models.tasks import load_base

LABELS = tuple("0123456789")


@pytest.fixture
def model(vit_folder: Path) -> AdaptedModel:
    base = load_base(vit_folder, "image", LABELS, 5)
    return AdaptedModel(base, "image", make_adapter("head", {}), {}, 1)


def data(count: int, seed: int = 0) -> Prepared:
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 256, (count, 1, 28, 28), dtype=np.uint8)
    scale, shift = torch.full((1, 1, 1, 1), 1 / 127.5), torch.full((1, 1, 1, 1), -1.0)
    targets = random.integers(0, 10, count)
    groups = {"sex": ["f" if i % 3 else "m" for i in range(count)]}
    return Prepared(ImageInputs(pixels, scale, shift), targets, groups)


def generator(client: str = "c") -> np.random.Generator:
    return derive_generator(1, 2, client)


def test_every_example_once_an_epoch() -> None:
    recipe = Recipe(local_epochs=3, batch_size=4)
    found = list(batches(10, recipe, generator()))
    assert [len(rows) for rows in found] == [4, 4, 2] * 3
    for epoch in range(3):
        seen = np.concatenate(found[3 * epoch : 3 * epoch + 3])
        assert sorted(seen) == list(range(10))
    assert not np.array_equal(found[0], found[3])


@pytest.mark.parametrize(
    ("steps", "count", "sizes"), [(2, 10, [4, 4]), (4, 10, [4, 4, 2, 4]), (3, 2, [2, 2, 2])]
)
def test_a_number_of_steps_instead_of_epochs(steps: int, count: int, sizes: list[int]) -> None:
    recipe = Recipe(local_epochs=9, local_steps=steps, batch_size=4)
    assert [len(rows) for rows in batches(count, recipe, generator())] == sizes


def test_one_step_of_sgd_by_hand(model: AdaptedModel) -> None:
    start, examples = model.read(), data(8)
    recipe = Recipe(batch_size=8, optimizer="sgd", learning_rate=0.5)
    done = train(model, examples, start, recipe, CrossEntropy(), generator())
    model.load(start)
    model.module.train()
    model.flat.grad.zero_()
    batch = examples.inputs.batch(np.arange(8), torch.device("cpu"))
    logits = model.module(**batch).logits
    loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(examples.targets))
    loss.backward()
    expected = start - 0.5 * model.flat.grad.numpy()
    np.testing.assert_allclose(done.vector, expected, atol=1e-6)
    assert done.loss == pytest.approx(float(loss.detach()), rel=1e-5)
    assert done.examples == 8


def test_fedprox_adds_mu_times_the_distance(model: AdaptedModel) -> None:
    start = torch.from_numpy(model.read())
    with torch.no_grad():
        model.flat.add_(2.0)
    model.flat.grad.fill_(1.0)
    FedProx(mu=0.25).adjust_gradient(model, start)
    np.testing.assert_allclose(model.flat.grad.numpy(), 1.0 + 0.25 * 2.0)


def test_fedprox_with_mu_zero_is_plain_and_large_mu_stays_near(model: AdaptedModel) -> None:
    start, examples = model.read(), data(32)
    recipe = Recipe(batch_size=8, optimizer="sgd", learning_rate=0.1)

    def moved(objective: CrossEntropy | FedProx) -> np.ndarray:
        return train(model, examples, start, recipe, objective, generator()).vector - start

    np.testing.assert_array_equal(moved(FedProx(mu=0.0)), moved(CrossEntropy()))
    assert np.linalg.norm(moved(FedProx(mu=5.0))) < 0.8 * np.linalg.norm(moved(CrossEntropy()))


def test_a_client_repeats_itself_and_leaves_nothing_behind(model: AdaptedModel) -> None:
    start, recipe = model.read(), Recipe(batch_size=8)
    first = train(model, data(20), start, recipe, CrossEntropy(), generator())
    train(model, data(30, seed=9), start, recipe, CrossEntropy(), generator("other"))
    again = train(model, data(20), start, recipe, CrossEntropy(), generator())
    np.testing.assert_array_equal(first.vector, again.vector)
    assert first.loss == again.loss


def test_nothing_to_train_on_is_said(model: AdaptedModel) -> None:
    with pytest.raises(ClientError, match="no training examples"):
        train(model, data(0), model.read(), Recipe(), CrossEntropy(), generator())


def test_evaluation_counts_by_group(model: AdaptedModel) -> None:
    examples = data(600)
    found = evaluate(model, examples, model.read())
    correct = sum(c for c, _ in found.groups["sex"].values())
    assert {k: n for k, (_, n) in found.groups["sex"].items()} == {"f": 400, "m": 200}
    assert found.accuracy == pytest.approx(correct / 600)
    assert found.examples == 600


@pytest.mark.parametrize("seed", range(5))
def test_macro_f1_is_scikit_learns(seed: int) -> None:
    random = np.random.default_rng(seed)
    targets, predicted = random.integers(0, 6, 40), random.integers(2, 9, 40)
    expected = f1_score(targets, predicted, average="macro", zero_division=0)
    assert macro_f1(targets, predicted) == pytest.approx(expected, abs=1e-12)


def test_optimizer_options_are_checked() -> None:
    assert optimizer_arg_errors("sgd", {"momentum": 0.9, "weight-decay": 1.5}) == []
    assert "did you mean 'momentum'" in optimizer_arg_errors("sgd", {"momentm": 0.9})[0]
    assert "below 1" in optimizer_arg_errors("adam", {"beta-1": 1.0})[0]
    assert "at least 0" in optimizer_arg_errors("adamw", {"weight-decay": -1})[0]
    assert "momentum above 0" in optimizer_arg_errors("sgd", {"nesterov": True})[0]


def test_a_step_in_pieces_is_the_same_step(model: AdaptedModel) -> None:
    start, examples = model.read(), data(10)
    whole = Recipe(batch_size=7, optimizer="sgd", learning_rate=0.5, local_epochs=2)

    def done(recipe: Recipe) -> Trained:
        return train(model, examples, start, recipe, CrossEntropy(), generator())

    once, piecewise = done(whole), done(replace(whole, accumulation=3))
    np.testing.assert_allclose(piecewise.vector, once.vector, atol=1e-6)
    assert piecewise.loss == pytest.approx(once.loss, rel=1e-5)
    assert piecewise.examples == once.examples == 20


def test_losses_of_an_epoch_are_counted() -> None:
    assert losses_an_epoch(10, Recipe(batch_size=4)) == 3
    assert losses_an_epoch(10, Recipe(batch_size=4, accumulation=3)) == 3 + 3 + 2
    assert losses_an_epoch(2, Recipe(batch_size=4, accumulation=3)) == 2


def test_activations_computed_again_give_the_same_bits(vit_folder: Path) -> None:
    base = load_base(vit_folder, "image", LABELS, 5)
    model = AdaptedModel(base, "image", make_adapter("lora", {"dropout": 0.1}), {}, 1)
    start, examples, recipe = model.read(), data(16), Recipe(batch_size=8)
    kept = train(model, examples, start, recipe, CrossEntropy(), generator())
    again = replace(recipe, gradient_checkpointing=True)
    calls = 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1

    layer = next(m for n, m in model.module.named_modules() if type(m).__name__ == "ViTLayer")
    layer.attention.register_forward_hook(count)
    twice = train(model, examples, start, again, CrossEntropy(), generator())
    np.testing.assert_array_equal(kept.vector, twice.vector)
    seen, calls = calls, 0
    train(model, examples, start, recipe, CrossEntropy(), generator())
    assert (seen, calls) == (4, 2)


def test_a_cosine_falls_from_the_first_round_to_the_last() -> None:
    recipe = Recipe(learning_rate=5.0, schedule="cosine", least_rate=1.0, rounds=5)
    rates = [recipe.at(t).learning_rate for t in (0, 1, 2, 3, 4, 5, 9)]
    assert rates == pytest.approx([5, 5, 3 + 2**0.5, 3, 3 - 2**0.5, 1, 1], abs=1e-12)
    assert replace(recipe, rounds=1).at(1).learning_rate == 5.0
    assert Recipe(learning_rate=5.0, rounds=5).at(4).learning_rate == 5.0


def test_every_optimizer_option_arrives(model: AdaptedModel) -> None:
    def defaults(optimizer: str, **options: float | bool) -> dict[str, object]:
        pairs = tuple((name.replace("_", "-"), value) for name, value in options.items())
        recipe = Recipe(optimizer=optimizer, optimizer_args=pairs)  # type: ignore[arg-type]
        return make_optimizer(model, recipe).defaults

    found = defaults("adamw", beta_1=0.8, eps=1e-6, amsgrad=True)
    assert (found["betas"], found["eps"], found["amsgrad"]) == ((0.8, 0.999), 1e-6, True)
    assert found["weight_decay"] == 0.01
    found = defaults("sgd", momentum=0.9, nesterov=True)
    assert (found["momentum"], found["nesterov"], found["weight_decay"]) == (0.9, True, 0)
    assert defaults("sgd", dampening=0.5)["dampening"] == 0.5
