"""``bouquet profile`` on the embedded data."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.cli import main
from app.cli.profile import able
from app.compare.contestants import parse_contestants
from app.profile.advice import Profile, advise
from app.profile.measures import Measured
from app.registry import registry
from app.settings import parse_run_config


def test_skewed_digits_are_told_from_even_ones(tmp_path: Path, vit_folder: Path) -> None:
    def told(*words: str) -> dict[str, dict[str, object]]:
        done = CliRunner().invoke(
            main,
            ["profile", f"model={vit_folder}", "num-clients=5", *words, "--format", "json"],
            catch_exceptions=False,
        )
        assert done.exit_code == 0, done.output
        found: dict[str, dict[str, object]] = json.loads(done.output)
        return found

    skewed = told("partition=pathological", "partition-args=classes-per-client=2")
    even = told("partition=iid")
    assert skewed["profile"]["labels"]["value"] > 0.7  # type: ignore[index]
    assert "A personal head" in [one["family"] for one in skewed["advice"]]  # type: ignore[index]
    assert [one["family"] for one in even["advice"]] == ["Plain averaging"]  # type: ignore[index]
    permuted = told("partition=iid", "partition-args=shift='label-permutation', groups=5")
    conflicts = [found["profile"]["concepts"] for found in (even, permuted)]
    assert conflicts[0] < 0.05 < conflicts[1]  # type: ignore[operator]


def test_whatever_is_advised_can_be_run() -> None:
    everything = Profile(
        9, Measured(0.9, 0.1), 0.9, 2, Measured(0.5, 0.0), 0.0, 0.5, True, True, True, ("s",), True
    )
    clusters = Profile(9, Measured(0.0, 0.0), 0.0, 2, None, 0.9)
    for advice in [*advise(everything), *advise(clusters)]:
        for one in parse_contestants(",".join(advice.methods)):
            if not one.preset:
                methods = parse_run_config(one.settings, registry()).methods
                assert registry()[methods[0]].paper


def test_what_cannot_run_here_is_not_advised() -> None:
    """Ranks or base models of the clients' own rule out what averages whole adapters."""
    skewed = Profile(9, Measured(0.9, 0.1), 0.9, 2)
    ranks = replace(skewed, ranks=True)
    found = able(advise(ranks), ranks, {"rank-args": "ranks=[2, 4]"})
    assert {m for one in found for m in one.methods} == {"flexlora", "hetlora", "flora", "local"}
    models = replace(skewed, models=True)
    told = [one.methods for one in able(advise(models), models, {})]
    assert told == [("fedsa", "fedproto", "pfedlora"), ("local",)]
    assert able(advise(skewed), skewed, {}) == advise(skewed)


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOUQUET_HOME", str(tmp_path / "state"))
