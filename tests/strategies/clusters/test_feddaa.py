"""FedDAA's server half: slots, learners, who keeps old data."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.errors import BouquetError
from models.schema import NamedArrays, Schema
from models.stacked import beside, stack, taken_apart
from models.time.slots import Slots
from strategies.clusters.feddaa import FedDAA
from strategies.rounds.context import RoundContext, Update
from strategies.transport.roster import Client, Node, Roster

SCHEMA = Schema.of(
    {"classifier.bias": np.zeros(3, np.float32), "classifier.weight": np.zeros((3, 2), np.float32)},
    {"head": "classifier", "labels": 3},
)
TWO_ROUNDS = Slots(every=2)
CLIENTS = [f"c-{i}" for i in range(8)]


def context(server_round: int, slots: Slots = TWO_ROUNDS, cohort: int = 0) -> RoundContext:
    roster = Roster()
    roster.join(Node(0, "c-0"), [Client(c, 0, 10) for c in CLIENTS])
    return RoundContext(server_round, 9, roster, clients_per_round=cohort, slots=slots)


def started(**options: object) -> FedDAA:
    strategy = FedDAA(**options)
    strategy.initialise(NamedArrays(SCHEMA, np.ones(SCHEMA.size, np.float32)))
    return strategy


def answer(
    strategy: FedDAA, client: str, values: list[float], gamma: list[float], n: int = 10,
    used: int | None = None,
) -> Update:  # fmt: skip
    """A client whose learner m is all values[m], and whose examples, all of label 0, are shared."""
    learners = [NamedArrays(SCHEMA, np.full(SCHEMA.size, v, np.float32)) for v in values]
    masses = np.outer(gamma, [1.0, 0.0, 0.0])
    metrics = {} if used is None else {"trained-on": float(used)}
    return Update(client, beside(stack(learners), labels=masses), n, metrics)


def train(strategy: FedDAA, where: RoundContext, updates: list[Update]) -> None:
    part = strategy.begin(where)
    for item in updates:
        part.add(item)
    strategy.conclude(part, where)


def prototypes(
    strategy: FedDAA, where: RoundContext, new: dict[str, int], old: dict[str, int]
) -> None:
    """Everybody answers with the prototypes of its concept: a permutation of the outputs."""
    orders = 10 * np.array([[[k == (y + by) % 3 for k in range(3)] for y in range(3)]
                            for by in range(3)], np.float32)  # fmt: skip
    updates = []
    for number, client in enumerate(new):
        noise = np.float32(0.01 * number)
        schema = strategy.instruct(client, where).reply
        assert schema is not None
        arrays = NamedArrays(schema, np.ones(schema.size, np.float32))
        arrays["new"][...], arrays["old"][...] = orders[new[client]] + noise, orders[old[client]]
        updates.append(Update(client, arrays, 10))
    train(strategy, where, updates)


def test_learners_are_means_weighted_by_the_examples_in_them() -> None:
    strategy, where = started(), context(1)
    train(strategy, where, [
        answer(strategy, "c-0", [2, 4], [0.9, 0.1]),
        answer(strategy, "c-1", [4, 8], [0.3, 0.7], n=30),
    ])  # fmt: skip
    first, second = strategy.clustered_models.values()
    assert first.vector[0] == pytest.approx((9 * 2 + 9 * 4) / 18)
    assert second.vector[0] == pytest.approx((1 * 4 + 21 * 8) / 22)
    assert strategy.assignment == {"c-0": 0, "c-1": 1}
    told = strategy.instruct("c-1", where).config
    assert [float(share) for share in str(told["trainer.pi"]).split(",")] == pytest.approx(
        [0.3, 0.7]
    )
    assert "trainer.pi" not in strategy.instruct("c-2", where).config


def test_the_published_mean_is_by_examples_alone() -> None:
    strategy, where = started(weights="examples"), context(1)
    train(strategy, where, [
        answer(strategy, "c-0", [2, 4], [0.9, 0.1]),
        answer(strategy, "c-1", [4, 8], [0.3, 0.7], n=30),
    ])  # fmt: skip
    first, second = strategy.clustered_models.values()
    assert first.vector[0] == pytest.approx((10 * 2 + 30 * 4) / 40)
    assert second.vector[0] == pytest.approx((10 * 4 + 30 * 8) / 40)


def test_old_examples_count_up_to_what_a_client_can_have() -> None:
    strategy, where = started(weights="examples"), context(1)
    train(strategy, where, [
        answer(strategy, "c-0", [0, 0], [1, 0], used=20),
        answer(strategy, "c-1", [3, 3], [1, 0], used=10**9),
        answer(strategy, "c-2", [9, 9], [1, 0], used=1),
    ])  # fmt: skip
    first, _ = strategy.clustered_models.values()
    assert first.vector[0] == pytest.approx((20 * 0 + 20 * 3 + 10 * 9) / 50)


def test_label_weights_travel_with_the_learners() -> None:
    strategy, where = started(), context(1)
    _, tables = taken_apart(strategy.instruct("c-0", where).arrays)
    np.testing.assert_allclose(tables["labels"], np.full((2, 3), 1 / 3))
    item = answer(strategy, "c-0", [1, 1], [0.5, 0.5])
    item.arrays["table.labels"][...] = [[0.1, 0.3, 0.0], [0.3, 0.3, 0.0]]
    train(strategy, where, [item])
    _, tables = taken_apart(strategy.instruct("c-0", where).arrays)
    np.testing.assert_allclose(tables["labels"], [[0.25, 0.75, 0], [0.5, 0.5, 0]], atol=1e-6)


def test_a_slot_begins_with_everybodys_prototypes() -> None:
    strategy = started()
    assert len(strategy.sample(context(2, cohort=3))) == 3
    where = context(3, cohort=3)
    assert list(strategy.sample(where)) == CLIENTS
    told = strategy.instruct("c-0", where)
    assert told.config == {"trainer": "feddaa", "trainer.phase": "prototypes"}
    assert told.arrays is strategy.reference
    assert told.reply is not None
    assert told.reply.size == 2 * (3 * 3 + 3)


def test_the_number_of_learners_follows_the_clusters_and_drift_is_found() -> None:
    strategy = started()
    train(strategy, context(1), [
        answer(strategy, c, [2, 4], [0.9, 0.1] if i % 2 == 0 else [0.1, 0.9])
        for i, c in enumerate(CLIENTS)
    ])  # fmt: skip
    old = {c: i % 2 for i, c in enumerate(CLIENTS)}
    new = {**old, "c-0": 2, "c-1": 2, "c-2": 1}
    prototypes(strategy, context(3), new, old)
    told = strategy.figures()
    assert (told["learners"], told["real_drifts"]) == (3.0, 3.0)
    assert told["silhouette/3"] > max(told["silhouette/2"], told["silhouette/4"])
    # The learners that clients of a concept used go with it; the new concept has a fresh one.
    assert strategy.assignment == {c: new[c] for c in CLIENTS}
    where = context(4)
    for client in CLIENTS:
        config = strategy.instruct(client, where).config
        assert config["trainer.keep-old"] is (new[client] == old[client])
        first = [float(share) for share in str(config["trainer.first"]).split(",")]
        assert np.argmax(first) == new[client]
        assert "trainer.pi" not in config
    kept = [model.vector[0] for model in strategy.clustered_models.values()]
    assert kept[:2] == pytest.approx([2, 4])


def test_an_unknown_client_trains_on_its_new_data_only() -> None:
    strategy = started(start="equal")
    known = {c: i % 2 for i, c in enumerate(CLIENTS[:6])}
    prototypes(strategy, context(3), known, known)
    assert strategy.instruct("c-0", context(4)).config["trainer.keep-old"] is True
    late = strategy.instruct("c-7", context(4)).config
    assert late == {"trainer": "feddaa", "trainer.keep-old": False}


def test_learners_that_nobody_needs_go_and_numbers_stay() -> None:
    strategy = started(learners=3)
    train(strategy, context(1), [
        answer(strategy, c, [1, 2, 3], [0.5, 0.1, 0.4]) for c in CLIENTS
    ])  # fmt: skip
    two = {c: i % 2 for i, c in enumerate(CLIENTS)}
    prototypes(strategy, context(3), two, two)
    assert list(strategy.clustered_models) == [0, 2]
    three = {c: i % 3 for i, c in enumerate(CLIENTS)}
    prototypes(strategy, context(5), three, three)
    assert list(strategy.clustered_models) == [0, 2, 3]


def test_the_number_can_be_fixed() -> None:
    strategy = started(clusters=4, learners=1)
    two = {c: i % 2 for i, c in enumerate(CLIENTS)}
    prototypes(strategy, context(3), two, two)
    assert len(strategy.clustered_models) == 4


def test_too_few_answers_change_nothing_and_the_slot_goes_on() -> None:
    strategy = started()
    prototypes(strategy, context(3), {"c-0": 0, "c-1": 1}, {"c-0": 0, "c-1": 1})
    assert len(strategy.clustered_models) == 2
    where = context(4)
    assert strategy.instruct("c-0", where).config["trainer.keep-old"] is False
    train(strategy, where, [answer(strategy, "c-0", [5, 6], [1, 0])])
    assert strategy.reference.vector[0] == 5


def test_a_slot_whose_first_round_nobody_answered_begins_later() -> None:
    strategy = started()
    assert "trainer.phase" in strategy.instruct("c-0", context(4)).config
    assert "trainer.phase" not in strategy.instruct("c-0", context(2)).config


def test_slots_of_its_own_where_no_drift_is_simulated() -> None:
    strategy = started(slot_rounds=5)
    plain = [context(r, Slots()) for r in range(1, 12)]
    asks = ["trainer.phase" in strategy.instruct("c-0", where).config for where in plain]
    assert asks == [False] * 5 + [True] * 6
    never = started()
    assert not any("trainer.phase" in never.instruct("c-0", where).config for where in plain)


def test_state_is_whole_in_the_middle_of_a_slot() -> None:
    whole = started()
    old = {c: i % 2 for i, c in enumerate(CLIENTS)}
    prototypes(whole, context(3), {**old, "c-0": 2, "c-1": 2, "c-4": 2}, old)
    train(whole, context(4), [answer(whole, "c-0", [1, 2, 3], [0.2, 0.2, 0.6])])
    copy = started()
    copy.restore(whole.state())
    for client in (*CLIENTS, "late"):
        one, two = whole.instruct(client, context(4)), copy.instruct(client, context(4))
        assert one.config == two.config
        np.testing.assert_array_equal(one.arrays.vector, two.arrays.vector)
    assert copy.figures() == whole.figures()
    assert copy.assignment == whole.assignment
    for strategy in (whole, copy):
        train(strategy, context(4), [answer(strategy, "c-3", [7, 8, 9], [0.1, 0.8, 0.1])])
    np.testing.assert_array_equal(
        whole.instruct("c-3", context(4)).arrays.vector,
        copy.instruct("c-3", context(4)).arrays.vector,
    )


def test_hostile_masses_cannot_turn_a_mean() -> None:
    strategy, where = started(), context(1)
    item = answer(strategy, "c-0", [9, 9], [0.0, 0.0])
    before = strategy.reference.vector.copy()
    train(strategy, where, [item])
    np.testing.assert_array_equal(strategy.reference.vector, before)
    negative = answer(strategy, "c-1", [3, 3], [-5.0, 1.0])
    train(strategy, where, [negative, replace(item, num_examples=0)])
    first, second = strategy.clustered_models.values()
    np.testing.assert_array_equal(first.vector, before)
    assert second.vector[0] == 3


def test_classes_come_from_the_schema_or_the_head() -> None:
    bare = NamedArrays.of({"x.weight": np.zeros((2, 2), np.float32)})
    with pytest.raises(BouquetError, match="need the number of classes"):
        FedDAA().initialise(bare)
