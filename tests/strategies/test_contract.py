"""What every method must keep to, as one table over the registry and a sample of the pairs."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from app.registry import BASELINES, registry
from models.payloads.masked import is_masked, masked, numbers_schema
from models.schema import NamedArrays, Schema
from models.stacked import beside, stack, taken_apart
from strategies.base import Strategy
from strategies.rounds.context import RoundContext, Update
from strategies.transport.roster import Client, Node, Roster

SCHEMA = Schema.of(
    {
        "a.lora_A.weight": np.zeros((2, 4), np.float32),
        "a.lora_B.weight": np.zeros((3, 2), np.float32),
        "classifier.weight": np.zeros((3, 3), np.float32),
        "f.fairlora_S": np.zeros((2, 4), np.float32),
        "f.fairlora_U": np.zeros((5, 4), np.float32),
        "f.fairlora_V": np.zeros((4, 3), np.float32),
    },
    {"rank": 2, "alpha": 4.0, "scaling": 2.0, "head": "classifier"},
)
MAKERS: dict[str, Callable[[], Strategy]] = {
    "global": BASELINES["global"],
    **{
        f"fedopt {name} > fedavg": lambda name=name: registry().compose(
            ("fedopt", "fedavg"), {"fedopt": {"optimizer": name}}
        )
        for name in ("sgd", "adam", "yogi", "adagrad")
    },
    "fedavg uniform": lambda: registry().compose(("fedavg",), {"fedavg": {"weights": "uniform"}}),
    "fedavg unbiased": lambda: registry().compose(
        ("fedavg",), {"fedavg": {"weights": "inverse-probability"}}
    ),
    **{
        name: lambda name=name: registry().compose((name,), {})
        for name in registry().method_names()
    },
    "fairlora products": lambda: registry().compose(
        ("fairlora",), {"fairlora": {"mean": "product"}}
    ),
    "fairlora stiff": lambda: registry().compose(
        ("fairlora",), {"fairlora": {"shared-half-s": True, "ema": 0.999}}
    ),
    "fedopt > fairlora": lambda: registry().compose(("fedopt", "fairlora"), {}),
    "fedopt > cellm": lambda: registry().compose(("fedopt", "cellm"), {}),
    "fedsa-lora > fedstale": lambda: registry().compose(("fedsa-lora", "fedstale"), {}),
    "ffa-lora > fedopt": lambda: registry().compose(("ffa-lora", "fedopt"), {}),
    "fedstale auto > fedopt": lambda: registry().compose(
        ("fedstale", "fedopt"), {"fedstale": {"beta": "auto"}}
    ),
    "fedopt > pfedlora": lambda: registry().compose(("fedopt", "pfedlora"), {}),
    "lg-fedavg > fedstale": lambda: registry().compose(("lg-fedavg", "fedstale"), {}),
    "fml > mifa": lambda: registry().compose(("fml", "mifa"), {}),
    "fedper > fedstale": lambda: registry().compose(("fedper", "fedstale"), {}),
    "fedopt > mifa": lambda: registry().compose(("fedopt", "mifa"), {}),
    "fedper adapter > fedopt": lambda: registry().compose(
        ("fedper", "fedopt"), {"fedper": {"personal": "adapter"}}
    ),
    "fedrep adapter > fedopt": lambda: registry().compose(
        ("fedrep", "fedopt"), {"fedrep": {"personal": "adapter"}}
    ),
    "ditto > ffa-lora": lambda: registry().compose(("ditto", "ffa-lora"), {}),
    "ditto > flexlora": lambda: registry().compose(("ditto", "flexlora"), {}),
    "fedcac present > fedopt": lambda: registry().compose(
        ("fedcac", "fedopt"), {"fedcac": {"candidates": "present", "beta": 3}}
    ),
    "fedcac > fedstale": lambda: registry().compose(("fedcac", "fedstale"), {}),
    "fedcac > ffa-lora": lambda: registry().compose(("fedcac", "ffa-lora"), {}),
    "fedopt > fedcac": lambda: registry().compose(("fedopt", "fedcac"), {}),
    **{
        f"{' > '.join(names)} {options}": lambda names=names, options=options: registry().compose(
            names, {names[0]: options}
        )
        for names, options in (
            (("ifca", "fedstale", "fedit"), {"start": "random"}),
            (("ifca", "fedopt"), {"averaging": "gradients", "restarts": 2, "restart-rounds": 2}),
            (("cfl", "fedavg"), {"min-round": 0, "eps1": 1e9, "eps2": 1e-9}),
            (("adaptive-clusters", "flexlora"), {"warm-up-rounds": 0}),
            (("adaptive-clusters", "fedopt"), {"warm-up-rounds": 0, "threshold": 1e-9}),
            (("adaptive-clusters", "fedstale"), {"warm-up-rounds": 1, "feature": "product"}),
        )
    },
    **{
        f"{outer} > {inner}": lambda outer=outer, inner=inner: registry().compose(
            (outer, inner), {}
        )
        for outer, inner in (
            ("fedsa", "fedavg"),
            ("fedproto", "fedper"),
            ("fedtgp", "fedstale"),
            ("fedgh", "fedavg"),
        )
    },
    "fedopt > fedsa > fedavg": lambda: registry().compose(("fedopt", "fedsa", "fedavg"), {}),
    "fedopt > fedopt > fedavg": lambda: registry().compose(("fedopt", "fedopt", "fedavg"), {}),
}
EVERY = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())


def context(server_round: int = 1, clients: int = 5) -> RoundContext:
    roster = Roster()
    known = [Client(f"c-{i}", 0, 10 + i, concept=i % 2) for i in range(clients)]
    roster.join(Node(0, "c-0"), known)
    return RoundContext(server_round, 9, roster)


def update(client: int, seed: int = 0, weight: int | None = None) -> Update:
    numbers = np.random.default_rng([client, seed]).normal(size=SCHEMA.size)
    arrays = NamedArrays(SCHEMA, numbers.astype(np.float32))
    examples = 10 + client if weight is None else weight
    groups = {"group_examples": [examples // 3, examples - examples // 3]}
    return Update(f"c-{client}", arrays, examples, notes=groups)


def started(make: Callable[[], Strategy], folder: Path | None = None) -> Strategy:
    strategy = make()
    if folder is not None:
        strategy.keep_in(folder)
    strategy.initialise(update(99).arrays)
    return strategy


def asked_for(strategy: Strategy, item: Update, where: RoundContext) -> Update:
    """Cut an update to what the strategy asked the client for.

    What is no part of an adapter is filled with its numbers, made positive.
    """
    told = strategy.instruct(item.client, where)
    wanted = told.reply or told.arrays.schema
    if not is_masked(wanted):
        own = item.arrays
        parts = [
            own[s.key].reshape(-1) if s.key in own else np.abs(np.resize(own.vector, s.size))
            for s in wanted.arrays
        ]
        return replace(item, arrays=NamedArrays(wanted, np.concatenate(parts)))
    numbers = item.arrays.only(numbers_schema(wanted))
    return replace(item, arrays=masked(numbers, numbers.vector > 0))
    if is_masked(wanted):
        numbers = item.arrays.only(numbers_schema(wanted))
        return replace(item, arrays=masked(numbers, numbers.vector > 0))
    if "models" in wanted.facts:
        learners, tables = taken_apart(told.arrays)
        return replace(item, arrays=beside(stack([item.arrays] * len(learners)), **tables))
    own = item.arrays
    parts = [
        own[s.key].reshape(-1) if s.key in own else np.resize(own.vector, s.size)
        for s in wanted.arrays
    ]
    return replace(item, arrays=NamedArrays(wanted, np.concatenate(parts)))


def step(strategy: Strategy, streams: Sequence[Sequence[Update]], server_round: int = 1) -> None:
    """One round; each inner sequence is one node's stream."""
    where = context(server_round)
    parts = []
    for stream in streams:
        part = strategy.begin(where)
        for item in stream:
            part.add(asked_for(strategy, item, where))
        parts.append(part)
    for other in parts[1:]:
        parts[0].merge(other)
    strategy.conclude(parts[0], where)


def models(strategy: Strategy) -> np.ndarray:
    return np.stack([strategy.model_for(f"c-{i}").vector for i in range(5)])


@EVERY
def test_the_order_of_clients_changes_nothing(make: Callable[[], Strategy]) -> None:
    updates = [update(i) for i in range(5)]
    forward, backward = started(make), started(make)
    step(forward, [updates])
    step(backward, [updates[::-1]])
    np.testing.assert_allclose(models(forward), models(backward), atol=1e-6)


@EVERY
def test_the_split_over_nodes_changes_nothing(make: Callable[[], Strategy]) -> None:
    updates = [update(i) for i in range(5)]
    one, many = started(make), started(make)
    step(one, [updates])
    step(many, [updates[:2], updates[2:3], updates[3:]])
    np.testing.assert_allclose(models(one), models(many), atol=1e-6)


@EVERY
def test_every_client_counts(make: Callable[[], Strategy]) -> None:
    whole = started(make)
    step(whole, [[update(i) for i in range(5)]])
    for changed in range(5):
        other = started(make)
        step(other, [[update(i, seed=int(i == changed)) for i in range(5)]])
        assert not np.array_equal(models(whole), models(other)), f"client {changed} has no say"


@EVERY
def test_the_state_is_all_there_is(make: Callable[[], Strategy], tmp_path: Path) -> None:
    """The state, and the files that `keep_in` named."""
    whole = started(make, tmp_path / "whole")
    step(whole, [[update(i) for i in range(3)]])
    saved = whole.state()
    if (tmp_path / "whole").exists():
        shutil.copytree(tmp_path / "whole", tmp_path / "copy")
    copy = started(make, tmp_path / "copy")
    copy.restore(saved)
    np.testing.assert_array_equal(models(whole), models(copy))
    for strategy in (whole, copy):
        step(strategy, [[update(i, seed=5) for i in range(5)]], server_round=2)
    np.testing.assert_array_equal(models(whole), models(copy))
    assert all(isinstance(v, np.ndarray) for v in saved.arrays.values())


@EVERY
def test_clients_without_examples_leave_the_model_as_it_is(make: Callable[[], Strategy]) -> None:
    strategy = started(make)
    before = strategy.arrays.vector.copy()
    step(strategy, [[update(0, weight=0), update(1, weight=0)]])
    np.testing.assert_array_equal(strategy.arrays.vector, before)


@EVERY
def test_updates_are_not_changed_and_models_stay_finite(make: Callable[[], Strategy]) -> None:
    strategy = started(make)
    before = strategy.arrays.schema
    updates = [update(i) for i in range(5)]
    copies = [u.arrays.vector.copy() for u in updates]
    for server_round in range(1, 4):
        step(strategy, [updates], server_round)
    for item, copy in zip(updates, copies, strict=True):
        np.testing.assert_array_equal(item.arrays.vector, copy)
    assert np.isfinite(models(strategy)).all()
    assert strategy.arrays.schema == before


@pytest.mark.parametrize("name", ["fedavg", "global", "fedopt sgd > fedavg"])
def test_one_client_returns_itself(name: str) -> None:
    strategy = started(MAKERS[name])
    step(strategy, [[update(3)]])
    np.testing.assert_allclose(strategy.arrays.vector, update(3).arrays.vector, atol=1e-6)


def test_fedavg_by_hand() -> None:
    strategy = started(MAKERS["fedavg"])
    pair = [update(0, weight=1), update(1, weight=3)]
    step(strategy, [pair])
    a, b = (u.arrays.vector.astype(np.float64) for u in pair)
    np.testing.assert_array_equal(strategy.arrays.vector, ((a + 3 * b) / 4).astype(np.float32))


def test_local_keeps_clients_apart() -> None:
    strategy = started(MAKERS["local"])
    step(strategy, [[update(1), update(3)]])
    for client in range(5):
        expected = update(client if client in (1, 3) else 99)
        np.testing.assert_array_equal(
            strategy.model_for(f"c-{client}").vector, expected.arrays.vector
        )


def test_global_takes_as_many_steps_as_the_cohort() -> None:
    strategy = BASELINES["global"](batch_size=8, local_epochs=2)
    strategy.initialise(update(99).arrays)
    where = context()
    assert list(strategy.sample(where)) == ["@pooled"]
    told = strategy.instruct("@pooled", where)
    # Five clients of 10 to 14 examples, twice over, in batches of 8.
    assert told.config["local-steps"] == 15


def test_impossible_pairs_are_refused_by_name() -> None:
    from models.errors import ConfigurationError

    with pytest.raises(ConfigurationError, match="'fedavg' does not wrap another method"):
        registry().compose(("fedavg", "fedavg"), {})


@pytest.mark.parametrize(
    "names",
    [("fedsa", "fedgh"), ("ffa-lora", "fedsa"), ("fedper", "fd"), ("ggeur", "fedsa", "fedavg")],
)
def test_who_tells_clients_what_to_do_does_not_go_around_prototypes(names: tuple[str, ...]) -> None:
    from models.errors import ConfigurationError

    with pytest.raises(ConfigurationError, match="both tell clients what to do"):
        registry().compose(names, {})
