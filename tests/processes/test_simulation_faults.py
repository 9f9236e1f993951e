"""Simulations that lose a worker, their server, or meet clients that lie; with real processes.

``BOUQUET_FAULT_REPEATS`` says how often the faults at random instants are repeated.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fault_plugins import DYING, LYING, flag, installed
from flower_host import ROOT, FlowerHost, wait_until
from hospitals import metrics_of

from models.randomness import derive_generator

pytestmark = pytest.mark.slow

REPEATS = int(os.environ.get("BOUQUET_FAULT_REPEATS", "2"))
_TWO_WORKERS = "num-supernodes=2 client-resources-num-cpus=1 init-args-num-cpus=2"
_SETTINGS: dict[str, object] = {
    "num-server-rounds": 4,
    "num-clients": 6,
    "strategy": "fedopt > fedavg",
    "clients-per-round": 4,
    "threads": 1,
}
_STOPPED = 8
_PATIENCE = 600.0


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory, bouquet_home: Path) -> Iterator[FlowerHost]:
    """Flower whose processes find the packages of `fault_plugins`."""
    made = FlowerHost(tmp_path_factory.mktemp("faulty"), bouquet_home)
    try:
        with installed(made, "bouquet_dying", "fedavg-dying", DYING):
            yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


def command(out: Path, name: str, **changes: object) -> list[str | Path]:
    settings = {**_SETTINGS, "out-dir": out, "run-name": name}
    settings |= {key.replace("_", "-"): value for key, value in changes.items()}
    words = [f"{key}={json.dumps(v) if v is True else v}" for key, v in settings.items()]
    return ["bouquet", "run", *words, "--federation-config", _TWO_WORKERS]


def finish(host: FlowerHost, out: Path, name: str, **changes: object) -> Path:
    """Run to the end."""
    done = host.run(command(out, name, **changes), cwd=ROOT, timeout=_PATIENCE)
    assert done.returncode == 0, done.stdout
    return out / name


def sum_of(run: Path) -> str:
    return hashlib.sha256((run / "adapter/adapter_model.safetensors").read_bytes()).hexdigest()


def story(run: Path) -> list[dict[str, object]]:
    """The rounds without their seconds."""
    lines = metrics_of(run)
    for line in lines:
        del line["seconds"]
    return lines


def state_of(run: Path) -> dict[str, object]:
    file = run / "status.json"
    return json.loads(file.read_text()) if file.is_file() else {}


# ---- F15 -----------------------------------------------------------------------------------


@pytest.mark.parametrize("pack_bytes", [1, 8_388_608])
def test_f15_a_worker_that_dies_costs_no_reply(
    faulty: FlowerHost, out: Path, pack_bytes: int
) -> None:
    changes = {
        "strategy": "fedavg-dying",
        "objective": "dying",
        "num_clients": 12,
        "clients_per_round": 0,
        "num_server_rounds": 2,
        "pack_bytes": pack_bytes,
    }
    whole = finish(faulty, out, f"alive-{pack_bytes}", **changes)
    flag(faulty).touch()
    broken = finish(faulty, out, f"dead-{pack_bytes}", **changes)
    assert not flag(faulty).exists(), "nobody died"
    assert [line["clients_answered"] for line in story(broken)] == [0, 12, 12]
    assert [line["rejected"] for line in story(broken)] == [[], [], []]
    assert sum_of(broken) == sum_of(whole)
    assert story(broken) == story(whole)


# ---- clients that lie ----------------------------------------------------------------------


def test_a_run_with_four_bad_clients_finishes_and_names_them(faulty: FlowerHost, out: Path) -> None:
    changes = {
        "strategy": "fedavg-lying",
        "num_clients": 7,
        "clients_per_round": 0,
        "num_server_rounds": 2,
        "pack_bytes": 1,
    }
    with installed(faulty, "bouquet_lying", "fedavg-lying", LYING):
        run = finish(faulty, out, "lies", **changes)
    expected = {
        "client-0001": ("nonfinite", "1 numbers are NaN or infinite"),
        "client-0002": ("schema", "answered for schema"),
        "client-0003": ("format", "(a pickle)"),
        "client-0004": ("weight", "-5"),
    }
    for line in story(run)[1:]:
        assert line["clients_answered"] == 3
        found = {r["client"]: (r["code"], r["detail"]) for r in line["rejected"]}
        assert found.keys() == expected.keys()
        for client, (code, words) in expected.items():
            assert found[client][0] == code
            assert words in found[client][1]
    assert not flag(faulty).exists(), "a pickle was opened"
    with (run / "clients.csv").open() as file:
        refused = {row["client"]: int(row["rejected"]) for row in csv.DictReader(file)}
    assert refused == {f"client-{i:04d}": 2 * (1 <= i <= 4) for i in range(7)}
    page = (run / "report.html").read_text()
    for client, (code, _) in expected.items():
        assert f'<td class="txt">{client}</td><td class="txt">{code}</td>' in page


# ---- F18, kill -9 --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(faulty: FlowerHost, out: Path) -> Path:
    return finish(faulty, out, "whole")


def server(host: FlowerHost) -> int:
    """The process that carries the ServerApp."""
    found = [
        number
        for number in host.processes()
        if b"flwr-simulation" in Path(f"/proc/{number}/cmdline").read_bytes()
    ]
    assert len(found) == 1, found
    return found[0]


def gone(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True
    return state == "Z"


def rounds_of(run: Path) -> int:
    file = run / "metrics.jsonl"
    return len(file.read_text().splitlines()) if file.is_file() else 0


def progress_of(run: Path) -> dict[str, object]:
    file = run / "progress.json"
    return json.loads(file.read_text()) if file.is_file() else {}


@pytest.mark.parametrize("repeat", range(REPEATS))
def test_f18_a_signal_ends_the_server_in_time(
    faulty: FlowerHost, out: Path, whole: Path, repeat: int
) -> None:
    name = f"stopped-{repeat}"
    generator = derive_generator(18, "signal", repeat)
    after, seconds = int(generator.integers(0, 3)), float(generator.uniform(0, 1))
    process = faulty.start(name, command(out, name))
    wait_until(lambda: rounds_of(out / name) > after, _PATIENCE, "round")
    time.sleep(seconds)
    carrier = server(faulty)
    began = time.monotonic()
    os.kill(carrier, signal.SIGTERM)
    wait_until(lambda: gone(carrier), 30, "the server's end")
    took = time.monotonic() - began
    code = process.wait(timeout=_PATIENCE)
    status = state_of(out / name)
    print(f"after round {after} and {seconds:.2f} s: gone in {took:.2f} s")
    assert (status["state"], status["code"], code) == ("stopped", _STOPPED, _STOPPED)
    assert "resume=true" in str(status["message"])
    assert took <= 5.5  # Flower's own last measure comes after 5 s
    resumed = finish(faulty, out, name, resume=True)
    assert sum_of(resumed) == sum_of(whole)
    assert story(resumed) == story(whole)


@pytest.mark.parametrize("inside", [False, True], ids=["between", "inside"])
@pytest.mark.parametrize("repeat", range(max(1, REPEATS // 2)))
def test_f7_a_killed_server_is_resumed_to_the_same_bits(
    faulty: FlowerHost, out: Path, whole: Path, inside: bool, repeat: int
) -> None:
    name = f"killed-{inside}-{repeat}"
    after = 1 + repeat % 3
    process = faulty.start(name, command(out, name))
    wait_until(lambda: rounds_of(out / name) > after, _PATIENCE, "round", every=0.002)
    if inside:

        def trains() -> bool:
            now = progress_of(out / name)
            return now.get("action") == "train" and now.get("round") == after + 1

        wait_until(trains, _PATIENCE, "training", every=0.002)
    carrier = server(faulty)
    os.kill(carrier, signal.SIGKILL)
    assert process.wait(timeout=_PATIENCE) != 0
    assert state_of(out / name)["state"] == "running"
    print(f"killed with {rounds_of(out / name)} lines, {progress_of(out / name)}")
    resumed = finish(faulty, out, name, resume=True)
    assert sum_of(resumed) == sum_of(whole)
    assert story(resumed) == story(whole)
