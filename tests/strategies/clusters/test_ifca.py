"""IFCA: the choice, the means, the starts; known concepts are found and followed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from concept_clients import OPTIMA, SCHEMA, answer, context, first_model, play, same_partition

from app.registry import registry
from models.errors import ConfigurationError
from models.stacked import unstack
from strategies.clusters.ifca import IFCA
from strategies.fedavg import FedAvg
from strategies.lora.ffa_lora import FFALoRA
from strategies.lora.hetlora import HetLoRA
from strategies.rounds.context import RoundContext, Update
from strategies.stale.mifa import Mifa

CONCEPTS = {f"c-{i}": i % 4 for i in range(12)}


def started(**options: object) -> IFCA:
    strategy = IFCA(**{"start": "distinct", **options})
    strategy.initialise(first_model())
    return strategy


def chosen(client: str, cluster: int, value: float, examples: int = 10) -> Update:
    arrays = first_model().replace(np.full(SCHEMA.size, value))
    metrics = {"cluster": float(cluster), "cluster_loss": value}
    return Update(client, arrays, examples, metrics)


def step(strategy: IFCA, where: RoundContext, updates: list[Update]) -> None:
    part = strategy.begin(where)
    for item in updates:
        part.add(item)
    strategy.conclude(part, where)


def level(strategy: IFCA, cluster: int) -> float:
    return float(strategy.clusters[cluster].arrays.vector[0])


def test_means_are_unweighted_and_an_empty_cluster_stays() -> None:
    strategy = started(clusters=3)
    empty = strategy.clusters[1].arrays.vector.copy()
    updates = [chosen("c-0", 0, 1.0, 10), chosen("c-1", 0, 3.0, 90), chosen("c-2", 2, 8.0)]
    step(strategy, context(1), updates)
    assert (level(strategy, 0), level(strategy, 2)) == (2.0, 8.0)
    np.testing.assert_array_equal(strategy.clusters[1].arrays.vector, empty)
    assert strategy.assignment == {"c-0": 0, "c-1": 0, "c-2": 2}
    assert strategy.figures() == {"clusters": 2.0, "moves": 0.0, "least_loss": 4.0}


def test_means_by_examples() -> None:
    strategy = started(clusters=2, weights="examples")
    step(strategy, context(1), [chosen("c-0", 0, 1.0, 10), chosen("c-1", 0, 3.0, 30)])
    assert level(strategy, 0) == 2.5


def test_gradients_are_divided_by_all_participants() -> None:
    """theta_j <- theta_j - gamma/m sum over S_j, m = 4 participants, two of them in S_0."""
    strategy = started(clusters=2, averaging="gradients")
    before = [strategy.clusters[k].arrays.vector.astype(np.float64) for k in (0, 1)]
    updates = []
    for client, cluster, gradient in (("c-0", 0, 1.0), ("c-1", 0, 2.0), ("c-2", 1, 4.0)):
        arrays = first_model().replace(before[cluster] - 0.1 * gradient)
        updates.append(Update(client, arrays, 10, {"cluster": float(cluster)}))
    updates.append(Update("c-3", first_model().replace(before[1]), 10, {"cluster": 1.0}))
    step(strategy, context(1), updates)
    for cluster, total in ((0, 3.0), (1, 4.0)):
        np.testing.assert_allclose(
            strategy.clusters[cluster].arrays.vector, before[cluster] - 0.1 / 4 * total, atol=1e-6
        )
    assert strategy.instruct("c-0", context(2)).config["around.gradient"] is True


def test_all_models_travel_in_one_payload_and_one_comes_back() -> None:
    strategy = started(clusters=3)
    told = strategy.instruct("c-0", context(1))
    models = unstack(told.arrays)
    assert told.arrays.vector.size == 3 * SCHEMA.size
    assert told.reply == SCHEMA
    for number, model in enumerate(models):
        np.testing.assert_array_equal(model.vector, strategy.clusters[number].arrays.vector)
    # One object for all clients, so that it is encoded once.
    assert strategy.instruct("c-1", context(1)).arrays is told.arrays
    assert strategy.instruct_evaluation("c-1", context(1)).arrays is told.arrays


def test_what_the_rule_inside_tells_the_client_is_kept() -> None:
    strategy = IFCA(FFALoRA(FedAvg()), start="distinct")
    strategy.initialise(first_model())
    told = strategy.instruct("c-0", context(1))
    assert told.config["around"] == "ifca"
    assert told.config["trainer"] == "frozen"
    assert told.config["trainer.roles"] == "B,rest"
    assert all("lora_A" not in key for key in unstack(told.arrays)[0])


def test_only_one_method_goes_around_the_clients_round() -> None:
    with pytest.raises(ConfigurationError, match="so does Ditto; put it inside cfl"):
        registry().compose(("ifca", "fedopt", "ditto"), {})
    with pytest.raises(ConfigurationError, match="one of their own with FML; put it inside cfl"):
        registry().compose(("ifca", "fml"), {})
    assert registry().compose(("cfl", "ditto"), {}).inner  # type: ignore[attr-defined]


def test_ranks_that_were_pruned_in_one_cluster_only_are_sent_as_the_least() -> None:
    strategy = IFCA(HetLoRA(), start="distinct", clusters=2)
    strategy.initialise(first_model())
    pruned = Update("c-0", first_model(), 10, {"cluster": 1.0, "rank": 1.0})
    step(strategy, context(1), [pruned])
    told = strategy.instruct("c-0", context(2))
    assert [model.schema.facts["rank"] for model in unstack(told.arrays)] == [1, 1]
    assert told.reply is not None
    assert told.reply.facts["rank"] == 1
    assert unstack(strategy.instruct("c-1", context(2)).arrays)[0].schema.facts["rank"] == 2


def test_distinct_starts_are_other_functions_and_the_same_again() -> None:
    one, two = started(clusters=3), started(clusters=3)
    starts = [rule.arrays for rule in one.clusters.values()]
    assert len({model.vector.tobytes() for model in starts}) == 3
    for model, again in zip(starts, two.clusters.values(), strict=True):
        np.testing.assert_array_equal(model.vector, again.arrays.vector)
        assert np.abs(model["a.lora_B.weight"]).min() > 0
        np.testing.assert_array_equal(model["a.lora_A.weight"], first_model()["a.lora_A.weight"])


def test_a_random_start_deals_the_clients_out_and_then_lets_them_choose() -> None:
    strategy = started(clusters=4, start="random")
    where = context(1)
    told = strategy.instruct("c-0", where)
    assert told.arrays.schema.hash == SCHEMA.hash
    assert "around" not in told.config
    play(strategy, CONCEPTS, where)
    assert np.bincount(list(strategy.assignment.values())).tolist() == [3, 3, 3, 3]
    assert strategy.instruct("c-0", context(2)).arrays.vector.size == 4 * SCHEMA.size


def test_first_updates_make_the_models() -> None:
    strategy = started(clusters=4, start="updates")
    told = strategy.instruct("c-0", context(1))
    np.testing.assert_array_equal(told.arrays.vector, first_model().vector)
    assert "around" not in told.config
    updates = {c: answer(strategy, c, CONCEPTS[c], context(1)) for c in CONCEPTS}
    play(strategy, CONCEPTS, context(1))
    assert same_partition(strategy.assignment, CONCEPTS)
    mean = np.mean([updates[f"c-{i}"].arrays.vector for i in (1, 5, 9)], axis=0, dtype=float)
    np.testing.assert_allclose(strategy.model_for("c-1").vector, mean, atol=1e-6)
    assert strategy.instruct("c-0", context(2)).arrays.vector.size == 4 * SCHEMA.size
    play(strategy, CONCEPTS, context(2))
    assert strategy.figures()["moves"] == 0.0


@pytest.mark.parametrize(
    "options",
    [
        {"start": "updates"},
        {"start": "updates", "feature": "product", "sketch": 25},
        {"start": "random", "restarts": 6, "restart_rounds": 2},
        {"start": "distinct", "restarts": 6, "restart_rounds": 2, "spread": 1.0},
        {"start": "distinct", "restarts": 6, "restart_rounds": 2, "spread": 3.0},
    ],
)
def test_known_concepts_are_found(options: dict[str, object]) -> None:
    strategy = started(clusters=4, **options)
    for number in range(1, 17):
        play(strategy, CONCEPTS, context(number, rounds=16))
    assert same_partition(strategy.assignment, CONCEPTS)
    for client, concept in CONCEPTS.items():
        model = next(
            m
            for m in unstack(strategy.instruct_evaluation(client, context(17)).arrays)
            if np.linalg.norm(m.vector - OPTIMA[concept]) < 0.3
        )
        np.testing.assert_array_equal(model.vector, strategy.model_for(client).vector)


def test_of_several_starts_the_one_of_least_loss_goes_on() -> None:
    strategy = started(clusters=2, restarts=3, restart_rounds=2)
    losses = {1: 9.0, 2: 5.0, 3: 9.0, 4: 1.0, 5: 0.5, 6: 4.0}
    for number, loss in losses.items():
        numbers = sorted(strategy.clusters)
        assert numbers == [2 * ((number - 1) // 2), 2 * ((number - 1) // 2) + 1]
        step(strategy, context(number), [chosen("c-0", 0, loss), chosen("c-1", 1, loss)])
    # The last rounds of the starts had 5, 1 and 4.
    assert sorted(strategy.clusters) == [2, 3]
    assert level(strategy, 2) == 1.0
    assert strategy.assignment == {"c-0": 2, "c-1": 3}
    step(strategy, context(7), [chosen("c-0", 1, 2.0)])
    assert strategy.assignment == {"c-0": 3, "c-1": 3}


def test_a_client_that_switches_its_concept_is_followed() -> None:
    strategy = started(clusters=4, restarts=6, restart_rounds=2, spread=1.0)
    for number in range(1, 15):
        play(strategy, CONCEPTS, context(number, rounds=20))
    switched = {**CONCEPTS, "c-5": 2}
    play(strategy, switched, context(15, rounds=20))
    assert strategy.figures()["moves"] == 1.0
    assert same_partition(strategy.assignment, switched)


def test_a_choice_at_evaluation_is_followed(tmp_path: Path) -> None:
    """What the former cluster knows of the client is forgotten when the next round ends."""
    strategy = IFCA(Mifa(), start="distinct")
    strategy.keep_in(tmp_path)
    strategy.initialise(first_model())
    step(strategy, context(1), [chosen("c-0", 0, 1.0), chosen("c-1", 0, 3.0)])
    strategy.heard("c-0", {"accuracy": 0.5, "cluster": 1.0})
    strategy.heard("c-1", {"accuracy": 0.5})
    assert strategy.assignment == {"c-0": 1, "c-1": 0}
    saved = strategy.state()
    again = IFCA(Mifa(), start="distinct")
    again.keep_in(tmp_path)
    again.initialise(first_model())
    again.restore(saved)
    step(again, context(2), [chosen("c-1", 0, 3.0)])
    assert again.figures()["moves"] == 1.0
    assert [c for c, *_ in again.clusters[0].memory.clients(9)] == ["c-1"]  # type: ignore[attr-defined]
    # Back again before anything was trained: it never moved.
    again.heard("c-1", {"cluster": 1.0})
    again.heard("c-1", {"cluster": 0.0})
    step(again, context(3), [chosen("c-0", 1, 3.0)])
    assert again.figures()["moves"] == 0.0
    assert [c for c, *_ in again.clusters[0].memory.clients(9)] == ["c-1"]  # type: ignore[attr-defined]


def test_a_late_joiner_finds_its_cluster_at_once_and_absent_ones_keep_theirs() -> None:
    strategy = started(clusters=4, restarts=6, restart_rounds=2, spread=1.0)
    for number in range(1, 14):
        play(strategy, CONCEPTS, context(number, away=("c-11",), rounds=20))
    assert "c-11" not in strategy.assignment
    away = tuple(c for c in CONCEPTS if CONCEPTS[c] == 1)
    play(strategy, CONCEPTS, context(14, away=away, rounds=20))
    assert same_partition(strategy.assignment, CONCEPTS)
    assert len(strategy.assignment) == 12


@pytest.mark.parametrize("said", [-1.0, 2.0, 7.5])
def test_a_choice_that_does_not_exist_is_not_followed(said: float) -> None:
    strategy = started(clusters=2)
    step(strategy, context(1), [chosen("c-0", 1, 1.0)])
    wrong = Update("c-0", first_model(), 10, {"cluster": said})
    step(strategy, context(2), [wrong, Update("c-9", first_model(), 10, {"cluster": said})])
    assert strategy.assignment == {"c-0": 1, "c-9": 0}


@pytest.mark.parametrize("at", [1, 2, 3, 5, 8])
def test_a_resumed_search_for_a_start_ends_in_the_same_models(at: int, tmp_path: Path) -> None:
    options = {"ifca": {"clusters": 3, "restarts": 3, "restart-rounds": 2, "start": "random"}}

    def fresh(folder: str) -> IFCA:
        strategy = registry().compose(("ifca", "fedstale", "fedit"), options)
        strategy.keep_in(tmp_path / folder)
        strategy.initialise(first_model())
        assert isinstance(strategy, IFCA)
        return strategy

    whole, broken = fresh("whole"), fresh("broken")
    for number in range(1, 10):
        play(whole, CONCEPTS, context(number))
    for number in range(1, at + 1):
        play(broken, CONCEPTS, context(number))
    saved = broken.state()
    play(broken, CONCEPTS, context(at + 1))  # and then it is killed
    again = fresh("broken")
    again.restore(saved)
    for number in range(at + 1, 10):
        play(again, CONCEPTS, context(number))
    assert again.assignment == whole.assignment
    assert sorted(again.clusters) == sorted(whole.clusters)
    for client in CONCEPTS:
        np.testing.assert_array_equal(
            again.model_for(client).vector, whole.model_for(client).vector
        )


def test_the_cohorts_order_does_not_show() -> None:
    one, two = started(clusters=2), started(clusters=2)
    where = context(1)
    updates = [answer(one, client, concept, where) for client, concept in CONCEPTS.items()]
    step(one, where, updates)
    step(two, where, updates[::-1])
    assert list(one.assignment) == list(two.assignment)
    for number in (0, 1):
        np.testing.assert_allclose(
            one.clusters[number].arrays.vector, two.clusters[number].arrays.vector, atol=1e-6
        )
