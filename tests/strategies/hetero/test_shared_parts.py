from __future__ import annotations

import numpy as np
import pytest

from app.registry import registry
from models.errors import ConfigurationError
from models.schema import NamedArrays
from strategies.base import Strategy
from strategies.rounds.context import RoundContext, Update
from strategies.transport.roster import Client, Node, Roster

HEAD = "base_model.model.classifier"


def first(seed: int = 0, **facts: str | int) -> NamedArrays:
    numbers = np.random.default_rng(seed).normal(size=(3, 4)).astype(np.float32)
    return NamedArrays.of(
        {
            f"{HEAD}.weight": numbers,
            f"{HEAD}.bias": np.zeros(3, np.float32),
            "base_model.model.layer.lora_A.weight": np.ones((2, 6), np.float32),
            "base_model.model.layer.lora_B.weight": np.zeros((6, 2), np.float32),
        },
        {"labels": 3, "head": "classifier", "rank": 2, "scaling": 2.0, "base": "f00", **facts},
    )


def context(**variants: str) -> RoundContext:
    roster = Roster()
    clients = [Client(f"c-{i}", 0, 10, variant=variants.get(f"c{i}", "")) for i in range(3)]
    roster.join(Node(0, "c-0"), clients)
    return RoundContext(1, 9, roster)


def made(*names: str, **options: dict[str, object]) -> Strategy:
    found = registry().compose(names, {k.replace("_", "-"): v for k, v in options.items()})
    found.initialise(first())
    return found


def one_round(strategy: Strategy, vectors: dict[str, tuple[np.ndarray, int]]) -> None:
    where = context()
    part = strategy.begin(where)
    for client, (vector, examples) in vectors.items():
        schema = strategy.instruct(client, where).arrays.schema
        part.add(Update(client, NamedArrays(schema, vector.astype(np.float32)), examples))
    strategy.conclude(part, where)


def test_omega_has_one_shape_and_is_averaged_by_examples() -> None:
    strategy = made("pfedlora", pfedlora={"rank": 2, "mu": 0.3})
    told = strategy.instruct("c-0", context())
    assert {k: v.shape for k, v in told.arrays.items()} == {"shared.A": (2, 4), "shared.B": (3, 2)}
    assert told.config == {
        "trainer": "pfedlora",
        "trainer.mu": 0.3,
        "trainer.rank": 2,
        "trainer.features": 4,
    }
    assert strategy.instruct_evaluation("c-0", context()).config == told.config
    # B is zero, so that omega begins as nothing; A is not, or B would never have a gradient.
    assert not told.arrays["shared.B"].any()
    assert 0 < np.abs(told.arrays["shared.A"]).max() <= 0.5
    # Nothing in what travels says which base it came from.
    assert not {"base", "scaling", "head"} & told.arrays.schema.facts.keys()
    one_round(strategy, {"c-0": (np.full(14, 1.0), 10), "c-1": (np.full(14, 5.0), 30)})
    np.testing.assert_array_equal(strategy.arrays.vector, np.full(14, 4.0, np.float32))
    assert not strategy.serves_all


def test_the_first_omega_belongs_to_the_run() -> None:
    again, other = (registry().compose(("pfedlora",), {}) for _ in range(2))
    again.initialise(first())
    other.initialise(first(seed=1))
    begun = made("pfedlora").arrays.vector
    np.testing.assert_array_equal(again.arrays.vector, begun)
    assert not np.array_equal(other.arrays.vector, begun)


def test_the_shared_width_may_be_another_one() -> None:
    strategy = made("lg-fedavg", lg_fedavg={"features": 7})
    told = strategy.instruct("c-0", context())
    assert told.arrays["shared.weight"].shape == (3, 7)
    assert told.config == {"trainer": "shared-head", "trainer.features": 7}
    one_round(strategy, {"c-0": (np.full(24, 2.0), 10), "c-2": (np.full(24, 4.0), 10)})
    np.testing.assert_array_equal(strategy.arrays.vector, np.full(24, 3.0, np.float32))


@pytest.mark.parametrize(
    ("name", "mean"), [("fml", 4.0), ("fedkd", 3.0)], ids=["by examples", "all alike"]
)
def test_the_common_model_keeps_its_own_keys_on_the_server(name: str, mean: float) -> None:
    strategy = made(name)
    told = strategy.instruct("c-0", context())
    assert all(key.startswith("shared.base_model.") for key in told.arrays)
    np.testing.assert_array_equal(strategy.model.vector, first().vector)
    assert strategy.model.schema == strategy.exported.schema == first().schema
    size = first().schema.size
    one_round(strategy, {"c-0": (np.full(size, 1.0), 10), "c-1": (np.full(size, 5.0), 30)})
    np.testing.assert_array_equal(strategy.model[f"{HEAD}.bias"], np.full(3, mean, np.float32))
    assert strategy.serves_all


def test_a_head_without_a_matrix_shares_nothing() -> None:
    arrays = NamedArrays.of({"x.lora_A": np.zeros((2, 2), np.float32)}, {"head": "classifier"})
    for name in ("pfedlora", "lg-fedavg"):
        with pytest.raises(ConfigurationError, match="no linear layer ends the model's head"):
            registry().compose((name,), {}).initialise(arrays)


def test_who_takes_models_of_the_clients_own() -> None:
    takes = {
        ("local",): True,
        ("pfedlora",): True,
        ("fedopt", "lg-fedavg"): True,
        ("fml", "fedstale"): True,
        ("fedkd",): True,
        ("fedavg",): False,
        ("fedper", "fedavg"): False,
        ("flora",): False,
    }
    for names, expected in takes.items():
        assert registry().compose(names, {}).takes_models == expected, names
    assert {"local", "pfedlora", "lg-fedavg", "fml", "fedkd"} <= set(registry().mixing())


def test_around_personal_parts_there_is_no_global_model_either() -> None:
    for names in (("fedopt", "fedper"), ("fedopt", "pfedlora")):
        assert not registry().compose(names, {}).serves_all
    assert registry().compose(("fedopt", "fml"), {}).serves_all


def test_local_sends_nothing_to_a_client_with_another_model() -> None:
    strategy = made("local")
    where = context(c1="other")
    there, own = (strategy.instruct(c, where) for c in ("c-1", "c-0"))
    assert (len(there.arrays), there.config) == (0, {"trainer": "partial"})
    assert (own.arrays.schema, own.config) == (first().schema, {})
    part = strategy.begin(where)
    part.add(Update("c-1", there.arrays, 10))
    part.add(Update("c-0", own.arrays.replace(own.arrays.vector + 1), 10))
    strategy.conclude(part, where)
    np.testing.assert_array_equal(strategy.model_for("c-0").vector, first().vector + 1)
    assert not any("c-1" in key for key in strategy.state().arrays)
