"""Runs in which clients take part unevenly: scenarios, remembered updates, resume, forgetting."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

import pytest
from flwr.app import Message
from local_runs import Config, Killed, kill_at, rounds, run, small
from quick_and_slow import one_quick
from safetensors.numpy import load_file

from app.client_app import app
from app.server.job import run_job
from fedbouquet.testing import LocalGrid
from models.errors import ConfigurationError

pytestmark = pytest.mark.usefixtures("no_pictures")


@pytest.fixture
def base(tmp_path: Path, vit_folder: Path) -> Config:
    return small(tmp_path, vit_folder) | {
        "strategy": "fedstale",
        "strategy-args": "beta=0.6",
        "participation": "bernoulli",
        "participation-args": "p=0.3, dropout=0.2",
        "num-clients": 5,
        "num-server-rounds": 8,
        "evaluate-every": 0,
        "local-steps": 2,
        "seed": 3,
    }


def participation(folder: Path) -> list[tuple[int, str, str]]:
    with (folder / "participation.csv").open() as stream:
        return [(int(r["round"]), r["client"], r["outcome"]) for r in csv.DictReader(stream)]


def adapter(folder: Path) -> bytes:
    return (folder / "adapter" / "adapter_model.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("strategy", "args"),
    one_quick(
        [
            ("fedstale", "beta=0.6"),
            ("fedstale", "beta='auto', memory-dtype='float16'"),
            ("fedopt > fedvarp > fedavg", "fedopt.optimizer='sgd'"),
            ("mifa", ""),
            ("fedper > fedau", "fedau.cutoff=3"),
        ]
    ),
)
def test_a_run_killed_and_resumed_ends_in_the_same_bits(
    base: Config, strategy: str, args: str
) -> None:
    base |= {"strategy": strategy, "strategy-args": args}
    whole = run(base)
    lines = rounds(whole)
    broken = {**base, "run-name": "broken"}
    with pytest.raises(Killed):
        run(broken, kill_at(6))
    folder = run({**broken, "resume": True})
    again = rounds(folder)
    assert [r["train_loss"] for r in lines] == [r["train_loss"] for r in again]
    assert lines[-1]["client_accuracy_mean"] == again[-1]["client_accuracy_mean"]
    assert participation(whole) == participation(folder)
    if "fedper" not in strategy:
        assert adapter(whole) == adapter(folder)


def test_the_scenario_decides_who_is_there_and_an_empty_round_changes_nothing(
    base: Config,
) -> None:
    folder = run(base | {"checkpoint-keep": 9})
    lines = rounds(folder)
    rows = participation(folder)
    asked = Counter(r for r, _, _ in rows)
    answered = Counter(r for r, _, outcome in rows if outcome == "answered")
    empty = [r for r in range(1, 9) if not answered[r]]
    assert empty, "this seed has a round without participants"
    assert {outcome for _, _, outcome in rows} == {"answered", "dropout"}
    for line in lines[1:]:
        number = line["round"]
        assert line["clients_asked"] == asked[number]
        assert line["clients_answered"] == answered[number]
        assert {r["code"] for r in line["rejected"]} <= {"dropout"}
    for number in empty:
        before, after = (
            load_file(folder / "checkpoints" / f"round-{r:06d}" / "state.safetensors")
            for r in (number - 1, number)
        )
        assert {k: v.tobytes() for k, v in before.items()} == {
            k: v.tobytes() for k, v in after.items()
        }
    with (folder / "clients.csv").open() as stream:
        last = {r["client"]: r["last_round"] for r in csv.DictReader(stream)}
    for client in last:
        theirs = [r for r, who, outcome in rows if who == client and outcome == "answered"]
        assert last[client] == (str(theirs[-1]) if theirs else "")


def test_a_pair_that_cannot_be_is_refused_before_the_first_message(base: Config) -> None:
    for strategy, named in (("fedstale > local", "Local"), ("mifa > fedavg > fedavg", "fedavg")):
        grid = LocalGrid(app, [{"partition-id": 0, "num-partitions": 1}], {})
        with pytest.raises(ConfigurationError, match=named):
            run_job(grid, base | {"strategy": strategy, "strategy-args": ""})
        assert grid.sent == []


def test_a_node_that_stays_away_is_forgotten_only_if_asked(base: Config) -> None:
    base |= {"participation": "always", "participation-args": "", "quorum": 2}
    memories = {}
    for after in (0, 2):
        places = [{"partition-id": i, "num-partitions": 2} for i in range(2)]
        config = {**base, "run-name": f"after-{after}", "forget-after": after}
        grid = LocalGrid(app, places, config)

        def leave(message: Message, reply: Message, grid: LocalGrid = grid) -> Message:
            if ("train", 1000) in grid.sent and message.metadata.message_type == "train":
                grid.nodes.pop(1000, None)
            return reply

        grid._tamper = leave
        folder = run_job(grid, config)
        state = json.loads((folder / "checkpoints" / "round-000008" / "state.json").read_text())
        memories[after] = state["values"]["examples"]
        assert len(state["roster"]) == (5 if after == 0 else 2)
    assert memories[0] > memories[2] > 0
