"""Whole runs on the virtual clock: same scenario, same bits; killed and resumed; stock ones."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.serverapp.strategy import FedAvg as FlowerFedAvg
from flwr.serverapp.strategy import FedMedian as FlowerFedMedian
from local_runs import Config, Killed, kill_at, rounds, run, small
from safetensors.numpy import load_file

from app.client_app import app
from app.registry import registry
from app.server.clock import make_exchange
from app.server.federation import open_federation
from app.settings import parse_run_config
from fedbouquet.testing import LocalGrid
from models.records import from_stock, to_stock
from strategies.clock.virtual_grid import VirtualGrid
from strategies.fedavg import FedAvg

TABLES = ("events.csv", "participation.csv", "clients.csv")


def uneven(tmp_path: Path, model: Path, **more: Any) -> Config:
    """Eight clients of very different speed, some of which drop out; a buffer of three."""
    config: Config = {
        **small(tmp_path, model),
        "num-clients": 8,
        "num-server-rounds": 6,
        "local-epochs": 1,
        "evaluate-every": 3,
        "clock": "virtual",
        "population": "pareto",
        "population-args": "shape=1.1, speed=100, uplink=1e5, link-sigma=0.5, jitter=0.2",
        "participation-args": "dropout=0.1",
        "closing": "buffer",
        "closing-args": "size=3, concurrency=6",
        "round-timeout": 60.0,
    }
    return {**config, **{key.replace("_", "-"): value for key, value in more.items()}}


def outcome(folder: Path) -> tuple[list[dict[str, Any]], list[str], dict[str, np.ndarray]]:
    """Everything that must be the same in the same run again, but for the real seconds."""
    lines = [{k: v for k, v in line.items() if k != "seconds"} for line in rounds(folder)]
    tables = [(folder / name).read_text() for name in TABLES]
    return lines, tables, load_file(folder / "adapter" / "adapter_model.safetensors")


def assert_same(one: Path, other: Path) -> None:
    a, b = outcome(one), outcome(other)
    assert a[0] == b[0]
    assert a[1] == b[1]
    assert a[2].keys() == b[2].keys()
    for key, value in a[2].items():
        np.testing.assert_array_equal(value, b[2][key])


def test_the_same_scenario_twice_and_killed_and_resumed(
    vit_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = uneven(tmp_path, vit_folder)
    whole = run(config)
    again = run({**config, "run-name": "again"})
    assert_same(whole, again)
    lines = rounds(whole)
    stale = [int(k) for line in lines[1:] for k in line["staleness"]]
    assert max(stale) >= 1
    seconds = [line["virtual_seconds"] for line in lines]
    assert seconds == sorted(seconds)
    assert seconds[0] == 0.0
    assert seconds[-1] > 0
    with (whole / "events.csv").open() as file:
        events = list(csv.DictReader(file))
    counted = [event for event in events if event["outcome"] == "answered"]
    assert len(counted) == sum(line["clients_answered"] for line in lines)
    told = sum(int(e["round"]) - int(e["base_round"]) for e in counted)
    assert told == sum(int(k) * n for line in lines[1:] for k, n in line["staleness"].items())
    assert 'id="gantt"' in (whole / "report.html").read_text()

    killed = {**config, "run-name": "killed"}
    with pytest.raises(Killed):
        run(killed, kill_at(6))
    done = len(rounds(tmp_path / "runs" / "killed"))
    assert 1 < done < 7
    assert_same(whole, run({**killed, "resume": True}))


def test_a_synchronous_round_waits_for_its_slowest(vit_folder: Path, tmp_path: Path) -> None:
    config = uneven(
        tmp_path, vit_folder, closing="", closing_args="", num_server_rounds=2,
        participation_args="", clients_per_round=4,
    )  # fmt: skip
    folder = run(config)
    with (folder / "events.csv").open() as file:
        events = list(csv.DictReader(file))
    for line in rounds(folder)[1:]:
        last = max(float(e["arrived"]) for e in events if e["round"] == str(line["round"]))
        assert line["virtual_seconds"] == last
        assert line["staleness"] == {"0": 4}
    status = json.loads((folder / "status.json").read_text())
    assert status["state"] == "finished"


def opened(config: Config) -> tuple[VirtualGrid, Any]:
    settings = parse_run_config(config, registry())
    places = [{"partition-id": i, "num-partitions": 2} for i in range(2)]
    federation = open_federation(LocalGrid(app, places, config), settings)
    grid, _ = make_exchange(federation, settings, FedAvg())
    assert isinstance(grid, VirtualGrid)
    return grid, federation


@pytest.mark.parametrize("stock", [FlowerFedAvg, FlowerFedMedian])
def test_stock_strategies_run_under_it_unchanged(
    vit_folder: Path, tmp_path: Path, stock: type[FlowerFedAvg]
) -> None:
    config = uneven(tmp_path, vit_folder, participation_args="", num_clients=4)
    grid, federation = opened(config)
    start = to_stock(federation.initial)
    random.seed(1)  # stock strategies sample with the global generator
    timed = stock().start(grid, start, num_rounds=2)
    assert grid.now() > 0
    assert len(grid.trainings()) == 8
    random.seed(1)
    plain = stock().start(federation.grid, start, num_rounds=2)
    np.testing.assert_array_equal(from_stock(timed.arrays).vector, from_stock(plain.arrays).vector)


def test_a_stock_strategy_goes_on_without_who_is_too_slow(vit_folder: Path, tmp_path: Path) -> None:
    config = uneven(
        tmp_path, vit_folder, participation_args="", num_clients=4, population_args="shape=1.1",
        local_steps=0,
    )  # fmt: skip
    grid, federation = opened(config)
    seconds = sorted(
        grid._scenario.population.device(client).seconds(client.examples or 0, 0, 0)
        for client in grid.roster
    )
    limit = (seconds[-2] + seconds[-1]) / 2
    result = FlowerFedAvg(min_train_nodes=1).start(
        grid, to_stock(federation.initial), num_rounds=1, timeout=limit
    )
    ended = grid.trainings()
    assert [training.outcome for training in ended].count("timeout") == 1
    assert grid.now() == limit
    assert len(result.arrays) > 0
