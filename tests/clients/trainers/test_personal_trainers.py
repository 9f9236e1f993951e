"""The client halves of Ditto, FedRep and FedCAC, step by step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from clients.objectives import CrossEntropy, FedProx, Objective
from clients.personal_state import Kept
from clients.plan import Recipe
from clients.preparation import ImageInputs
from clients.trainers import TRAINERS, Around, ClientRound, Outcome, Trainer
from clients.trainers.personal.fedcac import critical_mask
from clients.training import Prepared, train
from models.adapted import AdaptedModel
from models.adapters import make_adapter
from models.lora.factors import with_rank
from models.lora.resize import resized
from models.payloads.masked import mask_of, masked_schema, numbers_of
from models.randomness import derive_generator
from models.schema import NamedArrays, Schema
from models.tasks import load_base

LABELS = tuple("0123456789")
STEP = Recipe(local_epochs=1, batch_size=64, learning_rate=0.1, optimizer="sgd")


@pytest.fixture(scope="module")
def model(vit_folder: Path) -> AdaptedModel:
    base = load_base(vit_folder, "image", LABELS, 5)
    facts = {"head": ",".join(sorted(base.fresh))}
    return AdaptedModel(base, "image", make_adapter("lora", {"rank": 4}), facts, 1)


@pytest.fixture(scope="module")
def initial(model: AdaptedModel) -> NamedArrays:
    rng = np.random.default_rng(4)
    return model.arrays().replace(rng.normal(0, 0.1, model.schema.size))


def data(count: int = 24) -> Prepared:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (count, 1, 28, 28), dtype=np.uint8)
    scale, shift = torch.full((1, 1, 1, 1), 1 / 127.5), torch.full((1, 1, 1, 1), -1.0)
    return Prepared(ImageInputs(pixels, scale, shift), rng.integers(0, 10, count), {})


DATA = data()


@dataclass
class Node:
    """A client's node: what it keeps, round after round."""

    model: AdaptedModel
    initial: NamedArrays
    recipe: Recipe = STEP
    objective: Objective = field(default_factory=CrossEntropy)
    kept: Kept | None = None

    def round(self, server_round: int, start: NamedArrays) -> ClientRound:
        def keep(arrays: dict[str, np.ndarray], values: dict[str, object]) -> None:
            self.kept = Kept(server_round, dict(arrays), dict(values))

        self.model.set_scaling(start.schema.facts)
        return ClientRound(
            client="c",
            round=server_round,
            start=start,
            model=self.model,
            initial=self.initial,
            recipe=self.recipe,
            objective=self.objective,
            kept=self.kept,
            keep=keep,
            part=lambda _: DATA,
            generator=lambda purpose: derive_generator(7, server_round, "c", purpose),
        )


def gradient(model: AdaptedModel, at: np.ndarray) -> np.ndarray:
    """The gradient of cross-entropy over all examples, dropout being 0."""
    none = replace(STEP, learning_rate=1e-30)
    train(model, DATA, at, none, CrossEntropy(), derive_generator(0))
    assert model.flat.grad is not None
    return model.flat.grad.numpy().copy()


def made(name: str, **options: object) -> Around:
    half = TRAINERS[name].model_validate(options)
    assert isinstance(half, Around)
    return half.around(Trainer())


def moved(arrays: NamedArrays, seed: int) -> NamedArrays:
    return arrays.replace(
        arrays.vector + np.random.default_rng(seed).normal(0, 0.05, arrays.vector.size)
    )


# ---- Ditto ---------------------------------------------------------------------------------


def test_ditto_by_hand(model: AdaptedModel, initial: NamedArrays) -> None:
    """v <- v - eta (grad F(v) + lambda (v - w^t)), against the w^t that was received."""
    node, half = Node(model, initial), made("ditto", **{"lambda": 0.5})
    w = [moved(initial, 1), moved(initial, 2)]
    first = half.train(node.round(1, w[0]))
    v1 = w[0].vector - 0.1 * gradient(model, w[0].vector)  # begins at w^t: no pull yet
    np.testing.assert_allclose(half.model_of(node.round(2, w[1])).vector, v1, atol=1e-6)
    second = half.train(node.round(2, w[1]))
    v2 = v1 - 0.1 * (gradient(model, v1) + 0.5 * (v1 - w[1].vector))
    np.testing.assert_allclose(half.model_of(node.round(3, w[0])).vector, v2, atol=1e-6)
    # What goes back is w_k, as if there were no v.
    for outcome, server_round in ((first, 1), (second, 2)):
        alone = Trainer().train(Node(model, initial).round(server_round, w[server_round - 1]))
        np.testing.assert_array_equal(outcome.arrays.vector, alone.arrays.vector)
        assert outcome.metrics["train_loss"] == alone.metrics["train_loss"]
    np.testing.assert_array_equal(half.others_of(node.round(3, w[1]))["shared"].vector, w[1].vector)


def test_ditto_with_another_objective_has_both_pulls(
    model: AdaptedModel, initial: NamedArrays
) -> None:
    start = moved(initial, 1)
    v = moved(initial, 3)
    found = {}
    for name, objective in (("plain", CrossEntropy()), ("prox", FedProx(mu=2.0))):
        node = Node(model, initial, objective=objective)
        node.recipe = replace(STEP, local_epochs=2)
        node.kept = Kept(1, dict(v), {"scaling": model.schema.facts["scaling"]})
        half = made("ditto", **{"lambda": 0.5})
        half.train(node.round(2, start))
        found[name] = half.model_of(node.round(3, start)).vector
    step = found["plain"] - v.vector
    assert np.linalg.norm(found["prox"] - v.vector) < 0.95 * np.linalg.norm(step)


def test_ditto_has_epochs_of_its_own(model: AdaptedModel, initial: NamedArrays) -> None:
    start = moved(initial, 1)
    node = Node(model, initial, recipe=replace(STEP, local_steps=1))
    half = made("ditto", **{"lambda": 0.0, "personal-epochs": 3})
    half.train(node.round(1, start))
    expected = start.vector
    for _ in range(3):
        expected = expected - 0.1 * gradient(model, expected)
    np.testing.assert_allclose(half.model_of(node.round(2, start)).vector, expected, atol=1e-5)


def test_ditto_before_its_first_round_uses_the_shared_model(
    model: AdaptedModel, initial: NamedArrays
) -> None:
    start = moved(initial, 1)
    work = Node(model, initial).round(4, start)
    np.testing.assert_array_equal(made("ditto").model_of(work).vector, start.vector)


def test_ditto_keeps_its_products_when_the_scale_changes(
    model: AdaptedModel, initial: NamedArrays
) -> None:
    node, half = Node(model, initial), made("ditto")
    small = with_rank(model.schema, 2, "fixed")  # alpha stays, so that s doubles
    assert small.facts["scaling"] == 2 * model.schema.facts["scaling"]
    half.train(node.round(1, initial))
    same = half.model_of(node.round(2, initial)).vector
    other = half.model_of(node.round(2, resized(initial, small)))
    for key, (place, _) in model.schema.slices.items():
        factor = 0.5 if "lora_B" in key else 1.0
        np.testing.assert_allclose(other.vector[place], factor * same[place], rtol=1e-6)


def test_ditto_around_a_partial_half_keeps_both_apart(
    model: AdaptedModel, initial: NamedArrays
) -> None:
    body = model.schema.only([k for k in model.schema.slices if not model.schema.in_head(k)])
    ditto = TRAINERS["ditto"]().around(TRAINERS["partial"]())  # type: ignore[attr-defined]
    outer, alone = Node(model, initial), Node(model, initial)
    for server_round in (1, 2, 3):
        start = moved(initial, server_round).only(body)
        one = ditto.train(outer.round(server_round, start))
        two = TRAINERS["partial"]().train(alone.round(server_round, start))
        np.testing.assert_array_equal(one.arrays.vector, two.arrays.vector)
    assert outer.kept is not None
    assert alone.kept is not None
    for key, array in alone.kept.arrays.items():
        np.testing.assert_array_equal(outer.kept.arrays[f"inner/{key}"], array)
    assert len(outer.kept.arrays) == len(alone.kept.arrays) + len(model.schema.arrays)


# ---- FedRep --------------------------------------------------------------------------------


@pytest.mark.parametrize("personal", ["head", "adapter"])
def test_fedrep_trains_the_personal_part_first(
    model: AdaptedModel, initial: NamedArrays, personal: str
) -> None:
    keys = list(model.schema.slices)
    own = model.schema.only([k for k in keys if model.schema.in_head(k) == (personal == "head")])
    body = model.schema.only([k for k in keys if k not in own.slices])
    node = Node(model, initial)
    half = TRAINERS["fedrep"].model_validate({"head-epochs": 2, "body-epochs": 1})
    start = moved(initial, 1).only(body)
    outcome = half.train(node.round(1, start))

    def at(schema: Schema, vector: np.ndarray) -> np.ndarray:
        return NamedArrays(model.schema, vector).only(schema).vector

    expected = initial.overlaid(start)
    for _ in range(2):  # the head sees the body as received
        down = gradient(model, expected.vector)
        stepped = at(own, expected.vector) - 0.1 * at(own, down)
        expected = expected.overlaid(NamedArrays(own, stepped.astype(np.float32)))
    head = expected.only(own).vector
    down = gradient(model, expected.vector)  # the body sees the new head
    np.testing.assert_allclose(
        outcome.arrays.vector, start.vector - 0.1 * at(body, down), atol=1e-6
    )
    assert node.kept is not None
    kept = NamedArrays(own, np.concatenate([node.kept.arrays[k].reshape(-1) for k in own.slices]))
    np.testing.assert_allclose(kept.vector, head, atol=1e-6)
    assert outcome.arrays.schema == body
    # The next round goes on with the own head.
    following = half.model_of(node.round(2, moved(initial, 2).only(body)))
    np.testing.assert_array_equal(following.only(own).vector, kept.vector)


def test_fedrep_leaves_the_other_part_alone_whatever_the_optimiser(
    model: AdaptedModel, initial: NamedArrays
) -> None:
    """Momentum and weight decay move numbers that have no gradient; here nothing does."""
    body = model.schema.only([k for k in model.schema.slices if not model.schema.in_head(k)])
    recipe = replace(STEP, optimizer="adamw", optimizer_args=(("weight-decay", 0.5),))
    node = Node(model, initial, recipe=recipe)
    half = TRAINERS["fedrep"].model_validate({"head-epochs": 3, "body-epochs": 1})
    seen: list[tuple[np.ndarray, np.ndarray]] = []
    work = node.round(1, initial.only(body))
    fit = ClientRound.fit

    def watch(self: ClientRound, start: np.ndarray, **more: object) -> object:
        trained = fit(self, start, **more)  # type: ignore[arg-type]
        seen.append((start, trained.vector))
        return trained

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ClientRound, "fit", watch)
        half.train(work)
    for (before, after), still in zip(seen, (True, False), strict=True):
        for key, (place, _) in model.schema.slices.items():
            unchanged = np.array_equal(before[place], after[place])
            assert unchanged == ((key in body.slices) == still), key


# ---- FedCAC --------------------------------------------------------------------------------


def test_fedcac_returns_its_mask_and_keeps_what_it_trained(
    model: AdaptedModel, initial: NamedArrays
) -> None:
    node, half = Node(model, initial), made("fedcac", tau=0.3)
    start = moved(initial, 1)
    outcome = half.train(node.round(1, start))
    alone = Trainer().train(Node(model, initial).round(1, start))
    assert outcome.arrays.schema == masked_schema(start.schema)
    np.testing.assert_array_equal(numbers_of(outcome.arrays).vector, alone.arrays.vector)
    mask = mask_of(outcome.arrays)
    np.testing.assert_array_equal(mask, critical_mask(start, alone.arrays, 0.3))
    for place, _ in model.schema.slices.values():
        size = place.stop - place.start
        assert mask[place].sum() == int(0.3 * size)
    mixture = moved(initial, 2)
    work = node.round(2, mixture)
    np.testing.assert_array_equal(half.model_of(work).vector, mixture.vector)
    before = half.others_of(work)["before_aggregation"]
    np.testing.assert_array_equal(before.vector, alone.arrays.vector)
    assert not half.others_of(Node(model, initial).round(1, start))


@pytest.mark.parametrize("name", ["ditto", "fedcac"])
def test_a_half_that_keeps_nothing_anew_keeps_what_it_had(
    model: AdaptedModel, initial: NamedArrays, name: str
) -> None:
    class Once(Trainer):
        def train(self, work: ClientRound) -> Outcome:
            if work.kept is None:
                work.keep({"mark": np.array([3.0])}, {"said": "once"})
            return super().train(work)

    make: Callable[[], Trainer] = TRAINERS[name]
    half = make().around(Once())  # type: ignore[attr-defined]
    node = Node(model, initial)
    for server_round in (1, 2, 3):
        half.train(node.round(server_round, initial))
        inner = half.inside(node.round(4, initial))[0].kept
        assert inner is not None
        np.testing.assert_array_equal(inner.arrays["mark"], [3.0])
        assert inner.values == {"said": "once"}
