"""Adaptive clusters: the phases, Reptile's step, late joiners, stable numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from concept_clients import (
    OPTIMA,
    SCHEMA,
    START,
    answer,
    context,
    first_model,
    play,
    same_partition,
)

from app.registry import registry
from models.schema import NamedArrays
from strategies.base import Strategy
from strategies.clusters.adaptive_clusters import AdaptiveClusters
from strategies.clusters.class_means import class_means_schema, filled
from strategies.lora.flexlora import FlexLoRA
from strategies.rounds.context import Update

CONCEPTS = {f"c-{i}": i % 3 for i in range(12)}


def started(inner: Strategy | None = None, **options: object) -> AdaptiveClusters:
    strategy = AdaptiveClusters(inner, **options)
    strategy.initialise(START)
    return strategy


def test_warm_up_then_one_clustering_round_then_reptile() -> None:
    strategy = started(warm_up_rounds=2, clients_per_cluster=2, cluster_epochs=3)
    for number in (1, 2):
        assert "local-epochs" not in strategy.instruct("c-0", context(number)).config
        assert len(play(strategy, CONCEPTS, context(number))) == 12
        assert strategy.assignment == {}
    common = strategy.arrays.vector.copy()
    told = strategy.instruct("c-0", context(3))
    assert (told.config["local-epochs"], told.config["local-steps"]) == (3, 0)
    updates = {c: answer(strategy, c, CONCEPTS[c], context(3)) for c in CONCEPTS}
    assert len(play(strategy, CONCEPTS, context(3))) == 12
    assert same_partition(strategy.assignment, CONCEPTS)
    # Each begins with the mean of its members' models; the common model stays.
    for concept in range(3):
        members = [updates[c].arrays.vector for c in CONCEPTS if CONCEPTS[c] == concept]
        np.testing.assert_allclose(
            strategy.model_for(f"c-{concept}").vector,
            np.mean(members, axis=0, dtype=np.float64),
            atol=1e-6,
        )
    np.testing.assert_array_equal(strategy.arrays.vector, common)
    cohort = play(strategy, CONCEPTS, context(4))
    assert np.bincount([CONCEPTS[c] for c in cohort]).tolist() == [2, 2, 2]
    assert cohort == [c for c in CONCEPTS if c in cohort]


@pytest.mark.parametrize(("server_round", "eps"), [(3, 1.0), (6, 0.73), (9, 0.46)])
def test_reptiles_step_falls_from_1_to_046(server_round: int, eps: float) -> None:
    """w_c + eps_t (sum n_k/n w_k - w_c); rounds 3 to 9 follow the clustering in round 2."""
    strategy = started(warm_up_rounds=1)
    for number in (1, 2):
        play(strategy, CONCEPTS, context(number, rounds=9))
    before = strategy.model_for("c-0").vector.astype(np.float64)
    where = context(server_round, rounds=9)
    cohort = [c for c in strategy.sample(where) if CONCEPTS[c] == 0]
    updates = [answer(strategy, c, 0, where) for c in cohort]
    part = strategy.begin(where)
    for item in updates:
        part.add(item)
    strategy.conclude(part, where)
    mean = np.mean([u.arrays.vector for u in updates], axis=0, dtype=np.float64)
    expected = before + eps * (mean.astype(np.float32) - before)
    np.testing.assert_allclose(strategy.model_for("c-0").vector, expected, atol=1e-6)


def test_a_cluster_may_begin_with_the_common_model() -> None:
    strategy = started(warm_up_rounds=1, cluster_start="global", sketch=16)
    for number in (1, 2):
        play(strategy, CONCEPTS, context(number))
    assert same_partition(strategy.assignment, CONCEPTS)
    for client in CONCEPTS:
        np.testing.assert_array_equal(strategy.model_for(client).vector, strategy.arrays.vector)


@pytest.mark.parametrize("feature", ["adapter", "product", "head"])
@pytest.mark.parametrize("sketch", [0, 25])
def test_concepts_are_found_in_every_feature(feature: str, sketch: int) -> None:
    strategy = AdaptiveClusters(warm_up_rounds=1, feature=feature, sketch=sketch)
    strategy.initialise(first_model())
    for number in (1, 2):
        play(strategy, CONCEPTS, context(number))
    assert same_partition(strategy.assignment, CONCEPTS)


def prototypes_of(concept: int, lacks: int | None, client: str) -> NamedArrays:
    """Class means as a client of a concept answers; a class may be missing."""
    schema = class_means_schema(3)
    means = np.roll(np.eye(3), concept, axis=1) + 0.01 * int(client[2:])
    present = np.array([c != lacks for c in range(3)])
    means[~present] = 0
    arrays = {"new": means, "new-present": present, "old": means, "old-present": present}
    numbers = np.concatenate([np.ravel(arrays[spec.key]) for spec in schema.arrays])
    return NamedArrays(schema, numbers.astype(np.float32))


def test_prototypes_group_clients_without_training_also_where_classes_are_missing() -> None:
    strategy = started(warm_up_rounds=0, feature="prototypes")
    where = context(1, away=("c-11",))
    told = strategy.instruct("c-0", where)
    assert (told.config["trainer"], told.config["trainer.phase"]) == ("feddaa", "prototypes")
    assert told.reply == class_means_schema(3)
    np.testing.assert_array_equal(told.arrays.vector, strategy.arrays.vector)
    part = strategy.begin(where)
    for client in strategy.sample(where):
        lacks = {"c-0": 2, "c-4": 0}.get(client)
        part.add(Update(client, prototypes_of(CONCEPTS[client], lacks, client), 10, {}, 1))
    strategy.conclude(part, where)
    assert same_partition(strategy.assignment, {c: CONCEPTS[c] for c in strategy.assignment})
    assert len(strategy.assignment) == 11
    np.testing.assert_array_equal(strategy.model_for("c-0").vector, strategy.arrays.vector)
    # Who comes later is asked for prototypes too, and lacks a class.
    later = context(2)
    part = strategy.begin(later)
    part.add(Update("c-11", prototypes_of(CONCEPTS["c-11"], 1, "c-11"), 10, {}, 2))
    strategy.conclude(part, later)
    assert strategy.assignment["c-11"] == strategy.assignment["c-2"]


def test_what_nobody_knows_is_zero_and_what_one_lacks_is_the_mean_of_the_others() -> None:
    rows = np.array([[1.0, np.nan, np.nan], [3.0, 4.0, np.nan], [np.nan, 6.0, np.nan]])
    expected = np.array([[1.0, 5.0, 0.0], [3.0, 4.0, 0.0], [2.0, 6.0, 0.0]])
    np.testing.assert_array_equal(filled(rows), expected)


@pytest.mark.parametrize(
    ("options", "groups"),
    [({"threshold": 2.0}, 3), ({"threshold": 100.0}, 1), ({"normalised_threshold": 0.5}, 3)],
)
def test_cuts_at_a_distance_and_at_a_share_of_the_height(
    options: dict[str, float], groups: int
) -> None:
    strategy = started(warm_up_rounds=0, **options)
    play(strategy, CONCEPTS, context(1))
    assert len(set(strategy.assignment.values())) == groups
    drawn = strategy.drawing()
    heights = np.array(drawn["linkage"])[:, 2]  # type: ignore[index]
    assert int((heights > drawn["cut"]).sum()) == groups - 1
    assert sorted(drawn["leaves"]) == sorted(CONCEPTS)  # type: ignore[type-var]


def test_a_late_joiner_uses_the_common_model_and_joins_by_its_first_update() -> None:
    strategy = started(warm_up_rounds=1)
    for number in (1, 2, 3):
        play(strategy, CONCEPTS, context(number, away=("c-10", "c-11")))
    np.testing.assert_array_equal(strategy.model_for("c-10").vector, strategy.arrays.vector)
    told = strategy.instruct("c-10", context(4))
    assert told.config["local-epochs"] == 3
    before = {k: rule.arrays.vector.copy() for k, rule in strategy.clusters.items()}
    where = context(4)
    part = strategy.begin(where)
    for client in ("c-10", "c-11"):
        part.add(answer(strategy, client, CONCEPTS[client], where))
    strategy.conclude(part, where)
    assert same_partition(strategy.assignment, CONCEPTS)
    for number, vector in before.items():
        np.testing.assert_array_equal(strategy.clusters[number].arrays.vector, vector)


def test_clients_are_followed_and_clusters_keep_their_numbers() -> None:
    strategy = started(warm_up_rounds=1, recluster_every=3)
    for number in (1, 2, 3, 4):
        play(strategy, CONCEPTS, context(number, rounds=20))
    before = dict(strategy.assignment)
    models = {k: rule.arrays for k, rule in strategy.clusters.items()}
    switched = {**CONCEPTS, "c-0": 1}
    play(strategy, switched, context(5, rounds=20))
    assert strategy.figures()["moves"] == 1.0
    assert strategy.assignment == {**before, "c-0": before["c-1"]}
    # Clusters that go on keep their models; training is not undone.
    assert {k: rule.arrays for k, rule in strategy.clusters.items()} == models
    # A new concept, of two former members of one cluster: a new number, and their model.
    split = {**switched, "c-2": 3, "c-5": 3}
    for number in (6, 7):
        play(strategy, switched, context(number, rounds=20))
    old = strategy.model_for("c-2").vector.copy()
    play(strategy, split, context(8, rounds=20))
    assert same_partition(strategy.assignment, split)
    # Two of the four leave; which half keeps the number is the same in every run.
    assert set(strategy.assignment.values()) == {0, 1, 2, 3}
    np.testing.assert_array_equal(strategy.model_for("c-2").vector, old)


def test_a_cluster_that_is_gone_leaves_its_absent_members_to_join_anew() -> None:
    strategy = started(warm_up_rounds=1, recluster_every=2)
    for number in (1, 2, 3):
        play(strategy, CONCEPTS, context(number, rounds=20))
    gone = strategy.assignment["c-2"]
    merged = {c: min(k, 1) for c, k in CONCEPTS.items()}
    play(strategy, merged, context(4, rounds=20, away=("c-2",)))
    assert gone not in strategy.clusters
    assert "c-2" not in strategy.assignment
    play(strategy, merged, context(5, rounds=20))
    assert strategy.assignment["c-2"] == strategy.assignment["c-1"]


def test_an_empty_clustering_round_comes_again() -> None:
    strategy = started(warm_up_rounds=0)
    where = context(1)
    strategy.conclude(strategy.begin(where), where)
    assert strategy.clusters == {}
    play(strategy, CONCEPTS, context(2))
    assert same_partition(strategy.assignment, CONCEPTS)


def test_products_are_averaged_exactly_inside_a_cluster() -> None:
    strategy = AdaptiveClusters(FlexLoRA(), warm_up_rounds=0)
    strategy.initialise(first_model())
    where = context(1)
    updates = {c: answer(strategy, c, CONCEPTS[c], where) for c in CONCEPTS}
    play(strategy, CONCEPTS, where)
    assert same_partition(strategy.assignment, CONCEPTS)
    products = [
        2.0 * u.arrays["a.lora_B.weight"] @ u.arrays["a.lora_A.weight"]
        for c, u in updates.items()
        if CONCEPTS[c] == 0
    ]
    u, s, v = np.linalg.svd(np.mean(products, axis=0))
    model = strategy.model_for("c-0")
    found = 2.0 * model["a.lora_B.weight"] @ model["a.lora_A.weight"]
    np.testing.assert_allclose(found, (u[:, :2] * s[:2]) @ v[:2], atol=1e-4)


@pytest.mark.parametrize("at", [1, 2, 3, 5, 7])
@pytest.mark.parametrize("inside", ["fedopt", "fedstale"])
def test_a_resumed_run_ends_in_the_same_models(inside: str, at: int, tmp_path: Path) -> None:
    options = {"adaptive-clusters": {"warm-up-rounds": 2, "recluster-every": 3}}

    def fresh(folder: str) -> Strategy:
        strategy = registry().compose(("adaptive-clusters", inside, "fedavg")[:3], options)
        strategy.keep_in(tmp_path / folder)
        strategy.initialise(first_model())
        return strategy

    def away(number: int) -> tuple[str, ...]:
        return ("c-3",) if number < 5 else ("c-7",)

    whole, broken = fresh("whole"), fresh("broken")
    for number in range(1, 9):
        play(whole, CONCEPTS, context(number, away=away(number)))
    for number in range(1, at + 1):
        play(broken, CONCEPTS, context(number, away=away(number)))
    saved = broken.state()
    play(broken, CONCEPTS, context(at + 1, away=away(at + 1)))
    again = fresh("broken")
    again.restore(saved)
    for number in range(at + 1, 9):
        play(again, CONCEPTS, context(number, away=away(number)))
    assert again.assignment == whole.assignment
    assert again.drawing() == whole.drawing()
    for client in CONCEPTS:
        np.testing.assert_array_equal(
            again.model_for(client).vector, whole.model_for(client).vector
        )


def test_many_clients_are_not_drawn() -> None:
    strategy = started(warm_up_rounds=0)
    concepts = {f"c-{i}": i % 2 for i in range(501)}
    play(strategy, concepts, context(1, clients=501))
    assert same_partition(strategy.assignment, concepts)
    assert strategy.drawing() == {}
    assert OPTIMA.shape[1] == SCHEMA.size
