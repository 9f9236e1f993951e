"""What every method must keep to, as one table over the registry and a sample of the pairs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from app.built_in import BASELINES
from app.registry import registry
from fedbouquet.testing import RULE_CHECKS, RuleCheck, round_context, started, step, update
from strategies.base import Strategy

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
    "fedbuff sum > fedit": lambda: registry().compose(
        ("fedbuff", "fedit"), {"fedbuff": {"mean": "sum", "weighting": "examples"}}
    ),
    "fedfix asynchronous": lambda: registry().compose(
        ("fedfix",), {"fedfix": {"weights": "asynchronous"}}
    ),
    "fedper > fedcompass": lambda: registry().compose(("fedper", "fedcompass"), {}),
    "async-fedstale auto > fedopt": lambda: registry().compose(
        ("async-fedstale", "fedopt"), {"async-fedstale": {"beta": "auto"}}
    ),
    "fedopt > fedsa > fedavg": lambda: registry().compose(("fedopt", "fedsa", "fedavg"), {}),
    "fedopt > fedopt > fedavg": lambda: registry().compose(("fedopt", "fedopt", "fedavg"), {}),
}
EVERY = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())


@pytest.mark.parametrize("check", RULE_CHECKS.values(), ids=RULE_CHECKS)
@EVERY
def test_contract(make: Callable[[], Strategy], check: RuleCheck, tmp_path: Path) -> None:
    check(make, tmp_path)


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
    where = round_context()
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
