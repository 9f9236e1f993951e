"""FedNova: its equations by hand, and what every method must keep to."""

from __future__ import annotations

import math
from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pytest
from bouquet_fednova import METHOD, NORM, FedNova, NormalisedMean, a_norm

from fedbouquet import Update
from fedbouquet.testing import (
    RULE_CHECKS,
    RUN_CHECKS,
    RuleCheck,
    RunCheck,
    run_here,
    small,
    started,
    step,
    tiny_base,
    update,
)


@pytest.mark.parametrize("check", RULE_CHECKS.values(), ids=RULE_CHECKS)
def test_rule(check: RuleCheck, tmp_path: Path) -> None:
    check(FedNova, tmp_path)


@pytest.mark.parametrize("check", RUN_CHECKS.values(), ids=RUN_CHECKS)
def test_run(check: RunCheck, tmp_path: Path) -> None:
    check({"strategy": "fednova", **METHOD.preset, "num-server-rounds": 2}, tmp_path)


def test_the_entry_point_gives_the_method() -> None:
    (point,) = entry_points(group="fedbouquet.methods", name="fednova")
    assert point.load() is METHOD


def test_two_clients_by_hand() -> None:
    """p = (1/4, 3/4), ||a||_1 = (2, 6): tau_eff = 1/4 * 2 + 3/4 * 6 = 5."""
    strategy = started(FedNova)
    x = strategy.arrays.vector.astype(np.float64)
    pair = [
        replace(update(0, weight=1), metrics={NORM: 2.0}),
        replace(update(1, weight=3), metrics={NORM: 6.0}),
    ]
    first, second = (u.arrays.vector.astype(np.float64) for u in pair)
    step(strategy, [pair])
    expected = x - 5 * ((x - first) / 2 / 4 + (x - second) / 6 * 3 / 4)
    np.testing.assert_allclose(strategy.arrays.vector, expected, rtol=1e-6, atol=1e-6)


def test_with_equal_steps_it_is_the_mean_by_examples() -> None:
    strategy = started(FedNova)
    pair = [replace(update(k), metrics={NORM: 7.0}) for k in (0, 1)]
    step(strategy, [pair])
    mean = (10 * pair[0].arrays.vector + 11 * pair[1].arrays.vector) / 21
    np.testing.assert_allclose(strategy.arrays.vector, mean, atol=1e-6)


def test_norms_of_momentum_by_hand() -> None:
    assert a_norm(3, 0.0) == 3.0
    # (1) + (1 + 1/2) + (1 + 1/2 + 1/4)
    assert a_norm(3, 0.5) == 4.25


def test_clients_count_the_steps_that_they_took(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Update] = []
    add = NormalisedMean.add

    def watched(self: NormalisedMean, update: Update) -> None:
        seen.append(update)
        add(self, update)

    monkeypatch.setattr(NormalisedMean, "add", watched)
    config = {**small(tmp_path, tiny_base(tmp_path / "base")), **METHOD.preset}
    few = {"strategy": "fednova", "num-server-rounds": 1, "evaluate-every": 0}
    epochs = {"local-steps": 0, "local-epochs": 2, "optimizer-args": "momentum=0.5"}
    run_here({**config, **few, **epochs}, report=False)
    assert len(seen) == 4
    for item in seen:
        tau = 2 * math.ceil(item.num_examples / 64)
        assert tau > 2
        assert item.metrics[NORM] == a_norm(tau, 0.5)
