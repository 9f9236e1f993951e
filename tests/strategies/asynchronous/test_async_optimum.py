"""Where asynchronous methods converge when the fast and the slow disagree; all on parabolas."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean, stdev

import pytest
from quadratic_clients import run

from app.registry import registry
from strategies.strategy import Strategy

SECONDS = (1.0, 1.3, 1.7, 2.6, 4.1, 8.3)
CENTRES = (0.0, 0.0, 0.0, 1.0, 1.0, 1.0)  # the slow want 1; the optimum of all is 1/2


def made(name: str, options: Mapping[str, object]) -> Strategy:
    return registry().compose((name,), {name: options})


def late(path: list[float]) -> list[float]:
    return path[len(path) // 2 :]


@pytest.mark.parametrize(
    ("name", "options", "closing", "args", "rounds"),
    [
        ("fedavg", {}, "all", {}, 80),
        ("fedfix", {}, "interval", {"seconds": 0.5}, 300),
        ("fedfix", {}, "buffer", {"size": 2}, 200),
        ("fedfix", {}, "each", {}, 400),
        ("fedfix", {"weights": "asynchronous"}, "each", {}, 400),
        ("async-fedstale", {"beta": 0.0}, "buffer", {"size": 2}, 200),
        ("async-fedstale", {"beta": 0.5}, "buffer", {"size": 2}, 200),
        ("async-fedstale", {"beta": 1.0}, "each", {}, 400),
        ("afa-cs", {}, "buffer", {"size": 2}, 200),
    ],
)
def test_the_optimum_is_kept(
    name: str, options: Mapping[str, object], closing: str, args: Mapping[str, object], rounds: int
) -> None:
    path, _, _ = run(made(name, options), CENTRES, SECONDS, rounds, closing, args)
    assert fmean(late(path)) == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("name", ["fedasync", "fedbuff", "afa"])
def test_other_weights_pull_towards_the_fast(name: str) -> None:
    args = {} if name == "fedasync" else {"size": 2}
    path, _, _ = run(made(name, {}), CENTRES, SECONDS, 300, options=args)
    assert 0.1 < fmean(late(path)) < 0.42


def test_remembered_updates_calm_the_path() -> None:
    paths = [
        run(made("async-fedstale", {"beta": beta}), CENTRES, SECONDS, 300, options={"size": 2})[0]
        for beta in (0.0, 0.5)
    ]
    plain, blended = (stdev(late(path)) for path in paths)
    assert 0 < blended < 0.8 * plain


def test_fedcompass_brings_the_fast_and_the_slow_back_together() -> None:
    strategy = made("fedcompass", {"q-min": 2, "q-max": 10})
    _, records, grid = run(strategy, CENTRES, SECONDS, 12)
    # First contacts come alone; then 0 and 1 together at 20, 0 to 3 at 34, 0 to 4 at 57.4 and 67.4.
    assert [r.clients_answered for r in records[1:]] == [1, 1, 1, 2, 1, 1, 4, 1, 4, 1, 5, 5]
    assert grid.now() == pytest.approx(67.4)
    assert list(strategy.plan.steps.values()) == [10, 7, 5, 3, 2, 10]


def test_the_same_scenario_twice_is_the_same_to_the_bit() -> None:
    for name in ("fedcompass", "async-fedstale", "fedasync"):
        one, two = (run(made(name, {}), CENTRES, SECONDS, 50)[0] for _ in range(2))
        assert one == two
