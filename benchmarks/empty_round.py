"""What a round costs on real nodes when nobody has anything to do: ours against stock Flower's.

One SuperLink, two SuperNodes, each with a handful of rows; runs of both apps take turns. A round
asks both nodes to train and waits for both; nobody is evaluated.

* ours: `RoundLoop` over a `ClientGrid`, so roster, packs, flow control and screening are there;
  on the nodes the ClientApp as it ships, except that `run_pack` answers what it was sent instead
  of loading model and data. Checkpoints and the run directory are not part of it.
* stock: Flower's FedAvg and a ClientApp of its own that answers what it was sent.

The first exchange of each run, in which nodes fetch the app, is not counted. Wanted: at most 5.0 s
in the mean, and at most 0.85 of stock's. Most of it is Flower's: a SuperNode that finds no message
looks again after 3 s, its SuperExec looks for work every second, and each message is a new process
that needs more than a second of a processor before it reaches the app. ``--task-poll 0.1`` lets the
SuperExecs look more often, as the deployment guide advises, for both.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "processes"))
from flower_host import ROOT, FlowerHost, Nodes, wait_until

from app.places import PACKAGES

APPS = Path(__file__).resolve().parent / "empty_round_apps"
PROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "empty-{name}"
version = "1.0.0"
description = "a round without work"
license = "Apache-2.0"
dependencies = ["flwr"]
[tool.flwr.app]
publisher = "empty"
[tool.flwr.app.components]
serverapp = "{name}_server:app"
clientapp = "{name}_client:app"
[tool.flwr.app.config]
rounds = 0
out = ""
"""
SECONDS_WANTED, RATIO_WANTED = 5.0, 0.85


def make_app(folder: Path, name: str) -> Path:
    """Write the app ``ours`` or ``stock``."""
    app = folder / f"app-{name}"
    app.mkdir()
    (app / "pyproject.toml").write_text(PROJECT.format(name=name))
    for file in (f"{name}_server.py", f"{name}_client.py", "empty_schema.py"):
        (app / file).write_text((APPS / file).read_text())
    # Our code travels in the bundle, as in `flwr run .`; it may be edited meanwhile.
    for package in PACKAGES if name == "ours" else ():
        shutil.copytree(ROOT / package, app / package, ignore=shutil.ignore_patterns("__pycache__"))
    return app


def start_nodes(host: FlowerHost) -> None:
    """Start a SuperLink named ``lab`` and two SuperNodes with a few rows each."""
    nodes = Nodes(host)
    for name in ("site-a", "site-b"):
        data = host.folder / name
        data.mkdir()
        rows = "".join(f"words {number},{number % 2}\n" for number in range(20))
        (data / "data.csv").write_text("text,label\n" + rows)
        state = host.folder / f"{name}-state"
        nodes.add(name, f'client-id="{name}" data-path="{data}" state-dir="{state}"')
    host.connection("lab", address=nodes.address, insecure=True)
    for name in ("site-a", "site-b"):
        wait_until(lambda name=name: "SuperNode ID" in host.log(name), 60.0, name)


def measure(host: FlowerHost, app: Path, rounds: int) -> dict[str, object]:
    """Run an app to its end and return what its server half measured."""
    out = host.folder / f"seconds-{time.time_ns()}.json"
    done = host.flwr_run({"rounds": rounds, "out": str(out)}, app=app, on="lab")
    if not out.is_file():
        sys.exit(done.stdout[-5000:])
    return dict(json.loads(out.read_text()))


def import_seconds(module: str) -> float:
    """Return the median time of a fresh process that imports a module."""
    found = []
    for _ in range(5):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", f"import {module}"], check=True)
        found.append(time.perf_counter() - began)
    return statistics.median(found)


def main() -> None:
    """Measure both in turns; print the table, then the same as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20, help="rounds of each that count")
    parser.add_argument("--turns", type=int, default=4, help="runs these are divided over")
    parser.add_argument("--quick", action="store_true", help="4 rounds in 2 turns")
    parser.add_argument(
        "--task-poll", type=float, default=1.0, help="seconds between a SuperExec's looks for work"
    )
    options = parser.parse_args()
    rounds, turns = (4, 2) if options.quick else (options.rounds, options.turns)
    each = -(-rounds // turns)
    busy = os.getloadavg()[0]
    seconds: dict[str, list[float]] = {"ours": [], "stock": []}
    hello = []
    with tempfile.TemporaryDirectory(prefix="bq-") as name:
        folder = Path(name)
        host = FlowerHost(folder / "host", folder / "home")
        host.env["FLWR_SUPEREXEC_TASK_POLL_INTERVAL"] = str(options.task_poll)
        try:
            apps = {name: make_app(folder, name) for name in seconds}
            start_nodes(host)
            for _ in range(turns):
                for name, app in apps.items():
                    told = measure(host, app, each)
                    seconds[name] += told["rounds"]  # type: ignore[arg-type]
                    hello += [told["hello"]] if "hello" in told else []
        finally:
            host.stop()
    means = {name: statistics.mean(found) for name, found in seconds.items()}
    ratio = means["ours"] / means["stock"]
    imports = {m: import_seconds(m) for m in ("flwr.clientapp", "app.client_app")}
    print(
        f"{each * turns} rounds each in {turns} turns, a SuperExec looks every "
        f"{options.task_poll:g} s; load average {busy:.1f} at the start, "
        f"{os.getloadavg()[0]:.1f} at the end, {os.cpu_count()} processors"
    )
    print(f"{'':8}{'mean':>8}{'median':>8}{'least':>8}{'most':>8}   seconds a round")
    for name, found in seconds.items():
        row = (statistics.mean(found), statistics.median(found), min(found), max(found))
        print(f"{name:8}" + "".join(f"{value:8.2f}" for value in row))
    print(f"ours {means['ours']:.2f} s (wanted at most {SECONDS_WANTED:.1f})")
    print(f"ours / stock {ratio:.2f} (wanted at most {RATIO_WANTED})")
    print("hello, by run:", " ".join(f"{value:.1f}" for value in hello), "s")
    print("a process that imports", ", ".join(f"{m}: {s:.2f} s" for m, s in imports.items()))
    print(json.dumps({"seconds": seconds, "means": means, "ratio": ratio, "hello": hello}))


if __name__ == "__main__":
    main()
