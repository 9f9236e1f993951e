"""The contract of server halves: what a rule must keep to, whatever it computes.

A check takes a maker of the strategy and an empty folder, and raises ``AssertionError``; where it
says nothing about a method it raises ``unittest.SkipTest``, which pytest reports as skipped. No
model is needed: updates are random numbers of a small adapter, so a check takes milliseconds.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from unittest import SkipTest

import numpy as np
from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from fedbouquet.testing.federation import (
    Maker,
    asked_for,
    models,
    round_context,
    started,
    step,
    update,
)
from fedbouquet.testing.grid import LocalGrid
from fedbouquet.testing.open_rules import (
    open_rounds_resume_to_the_same_bits,
    stale_updates_are_taken_or_refused,
)
from models.errors import BouquetError
from models.records import from_stock, to_stock

RuleCheck = Callable[[Maker, Path], None]


def the_order_of_clients_changes_nothing(make: Maker, folder: Path) -> None:
    """Clients that answer in another order give the same models."""
    updates = [update(k) for k in range(5)]
    forward, backward = started(make), started(make)
    step(forward, [updates])
    step(backward, [updates[::-1]])
    np.testing.assert_allclose(models(forward), models(backward), atol=1e-6)


def the_split_over_nodes_changes_nothing(make: Maker, folder: Path) -> None:
    """Clients that live on other nodes give the same models."""
    updates = [update(k) for k in range(5)]
    one, many = started(make), started(make)
    step(one, [updates])
    step(many, [updates[:2], updates[2:3], updates[3:]])
    np.testing.assert_allclose(models(one), models(many), atol=1e-6)


def every_client_counts(make: Maker, folder: Path) -> None:
    """Another update of any one client changes some client's model."""
    whole = started(make)
    step(whole, [[update(k) for k in range(5)]])
    for changed in range(5):
        other = started(make)
        step(other, [[update(k, seed=int(k == changed)) for k in range(5)]])
        assert not np.array_equal(models(whole), models(other)), f"client {changed} has no say"


def the_state_is_all_there_is(make: Maker, folder: Path) -> None:
    """A strategy that takes back `state`, and the files of `keep_in`, goes on to the same bits."""
    whole = started(make, folder / "whole")
    step(whole, [[update(k) for k in range(3)]])
    saved = whole.state()
    if (folder / "whole").exists():
        shutil.copytree(folder / "whole", folder / "copy")
    copy = started(make, folder / "copy")
    copy.restore(saved)
    np.testing.assert_array_equal(models(whole), models(copy))
    for strategy in (whole, copy):
        step(strategy, [[update(k, seed=5) for k in range(5)]], server_round=2)
    np.testing.assert_array_equal(models(whole), models(copy))
    assert all(isinstance(v, np.ndarray) for v in saved.arrays.values())


def clients_without_examples_leave_the_model_as_it_is(make: Maker, folder: Path) -> None:
    """A round in which nobody had an example changes nothing, and divides by nothing."""
    strategy = started(make)
    before = strategy.arrays.vector.copy()
    step(strategy, [[update(0, weight=0), update(1, weight=0)]])
    np.testing.assert_array_equal(strategy.arrays.vector, before)


def updates_are_not_changed_and_models_stay_finite(make: Maker, folder: Path) -> None:
    """Three rounds write into nobody's update, and keep the model's keys and shapes."""
    strategy = started(make)
    before = strategy.arrays.schema
    updates = [update(k) for k in range(5)]
    for server_round in range(1, 4):
        where = round_context(server_round)
        expected = [asked_for(strategy, item, where).arrays.vector for item in updates]
        given = step(strategy, [updates], server_round)
        for item, unchanged in zip(given, expected, strict=True):
            np.testing.assert_array_equal(item.arrays.vector, unchanged)
    assert np.isfinite(models(strategy)).all()
    assert strategy.arrays.schema == before


def a_lonely_update_comes_back(make: Maker, folder: Path) -> None:
    """With one client the model is what that client returned.

    It holds for methods that say so (`Strategy.is_affine`) and go around nothing.
    """
    strategy = started(make)
    if strategy.wraps or not strategy.is_affine:
        raise SkipTest("a method that does not say that one update comes back as it is")
    step(strategy, [[update(3)]])
    asked = asked_for(strategy, update(3), round_context()).arrays
    np.testing.assert_allclose(strategy.arrays.only(asked.schema).vector, asked.vector, atol=1e-6)


def plain_clients_can_answer(make: Maker, folder: Path) -> None:
    """It runs in a ServerApp against a ClientApp of plain Flower, with no word of ours.

    A method that cannot, since it has a client half of its own or must know the adapter's factors,
    says so in words; others finish.
    """
    strategy = started(make)
    told = strategy.instruct("c-0", round_context())
    own = {"trainer", "around", "objective"} & set(told.config)
    if not set(strategy.sample(round_context())) <= set(round_context().available):
        raise SkipTest("a method that asks a client that no node has")
    if own or (told.reply or told.arrays.schema) != strategy.arrays.schema:
        raise SkipTest("a method with a client half of its own")
    first = to_stock(update(99).arrays)
    try:
        result = make().start(LocalGrid(_moving, [{}] * 3), first, num_rounds=2, timeout=10)
    except BouquetError as error:
        raise SkipTest(str(error)) from None
    assert list(result.arrays) == list(first)
    last = from_stock(result.arrays).vector
    assert np.isfinite(last).all()
    if strategy.serves_all:
        assert not np.array_equal(last, update(99).arrays.vector)


_moving = ClientApp()


@_moving.train()
def _train(message: Message, context: Context) -> Message:
    """Add a number of the node's own to everything."""
    arrays = message.content.array_records["arrays"]
    moved = {key: Array(arrays[key].numpy() + context.node_id % 10) for key in arrays}
    metrics = MetricRecord({"train_loss": 1.0, "num-examples": context.node_id % 10 + 1})
    content = RecordDict({"arrays": ArrayRecord(moved), "metrics": metrics})
    return Message(content, reply_to=message)


@_moving.evaluate()
def _evaluate(message: Message, context: Context) -> Message:
    metrics = MetricRecord({"eval_loss": 1.0, "num-examples": 1})
    return Message(RecordDict({"metrics": metrics}), reply_to=message)


RULE_CHECKS: Mapping[str, RuleCheck] = {
    check.__name__: check
    for check in (
        the_order_of_clients_changes_nothing,
        the_split_over_nodes_changes_nothing,
        every_client_counts,
        the_state_is_all_there_is,
        clients_without_examples_leave_the_model_as_it_is,
        updates_are_not_changed_and_models_stay_finite,
        a_lonely_update_comes_back,
        plain_clients_can_answer,
        stale_updates_are_taken_or_refused,
        open_rounds_resume_to_the_same_bits,
    )
}
