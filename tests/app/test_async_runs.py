"""Whole runs of asynchronous methods, each under its own closing rule."""

from __future__ import annotations

from pathlib import Path

import pytest
from local_runs import Config, Killed, kill_at, rounds, run, small

from models.errors import ConfigurationError

pytestmark = pytest.mark.usefixtures("no_pictures")

METHODS = {
    "fedasync": "rho=0.01",
    "fedbuff": "",
    "fedfix": "weighting='uniform'",
    "fedcompass": "q-min=1, q-max=4",
    "afa": "min-steps=1, max-steps=4",
    "afa-cs": "min-steps=1, max-steps=4",
    "async-fedstale": "beta=0.5, kappa=0.9",
}
CLOSINGS = {"fedasync": "", "fedcompass": "", "fedfix": "seconds=1.0"}


@pytest.fixture
def base(tmp_path: Path, vit_folder: Path) -> Config:
    return small(tmp_path, vit_folder) | {
        "num-server-rounds": 4,
        "evaluate-every": 0,
        "local-steps": 1,
        "clock": "virtual",
        "population": "pareto",
        "population-args": "speed=64, shape=1.0",
        "seed": 3,
    }


def of(name: str, base: Config) -> Config:
    options = (f"{name}.{option.strip()}" for option in METHODS[name].split(",") if option)
    return base | {
        "strategy": f"{name} > fedit",
        "strategy-args": ", ".join(options),
        "closing-args": CLOSINGS.get(name, "size=2"),
    }


@pytest.mark.parametrize("name", METHODS)
def test_a_run_closes_its_rounds_as_the_method_says(base: Config, name: str) -> None:
    lines = rounds(run(of(name, base)))
    assert [line["round"] for line in lines] == [0, 1, 2, 3, 4]
    answered = [line["clients_answered"] for line in lines[1:]]
    if name == "fedfix":
        assert [line["virtual_seconds"] for line in lines] == [0, 1, 2, 3, 4]
    elif name == "fedcompass":
        assert min(answered) >= 1
    else:
        assert answered == [1 if name == "fedasync" else 2] * 4
    assert lines[-1]["client_loss_mean"] != lines[0]["client_loss_mean"]


def adapter(folder: Path) -> bytes:
    return (folder / "adapter" / "adapter_model.safetensors").read_bytes()


@pytest.mark.parametrize("name", ["fedcompass", "async-fedstale"])
def test_a_run_killed_and_resumed_ends_in_the_same_bits(base: Config, name: str) -> None:
    base = of(name, base)
    whole = run(base)
    broken = {**base, "run-name": "broken"}
    with pytest.raises(Killed):
        run(broken, kill_at(4))
    folder = run({**broken, "resume": True})
    assert [r["train_loss"] for r in rounds(whole)] == [r["train_loss"] for r in rounds(folder)]
    assert adapter(whole) == adapter(folder)


def test_a_plan_is_needed_where_groups_are_planned(base: Config) -> None:
    with pytest.raises(ConfigurationError, match="the method plans no groups of clients"):
        run(base | {"strategy": "fedbuff", "closing": "planned"})
