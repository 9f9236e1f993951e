"""Three SuperNodes of which one is ten times as slow: who waits for it, and who does not."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from statistics import median

import pytest
from fault_plugins import SECONDS, TARDY, installed
from flower_host import FlowerHost, Nodes, wait_until
from hospitals import Sites, metrics_of

_QUICK = ("clinic-a", "clinic-b")
_SLOW = "clinic-c"


@pytest.mark.slow
def test_a_buffer_does_not_wait_for_a_slow_node_as_synchronous_rounds_do(
    host: FlowerHost, sites: Sites, vit_folder: Path, tmp_path: Path
) -> None:
    with installed(host, "tardy", "fedavg-tardy", TARDY):
        nodes = Nodes(host)
        for name in (*_QUICK, _SLOW):
            data = sites.clients / "hospital-a"
            settings = f'client-id="{name}" data-path="{data}" state-dir="{tmp_path / name}"'
            nodes.add(name, settings, {SECONDS: "60"} if name == _SLOW else None)
        host.connection("tardy", address=nodes.address, insecure=True)
        for name in (*_QUICK, _SLOW):
            wait_until(lambda name=name: "SuperNode ID" in host.log(name), 60.0, name)
        common = {
            "model": str(vit_folder),
            "adapter-args": "rank=2",
            "evaluate-every": 0,
            "local-steps": 2,
            "quorum": 3,
            "threads": 1,
            "out-dir": str(tmp_path),
        }
        together = {**common, "run-name": "together", "num-server-rounds": 1}
        asynchronous = {
            **common,
            "run-name": "buffer",
            "strategy": "fedbuff",
            "closing-args": "size=2",
            "num-server-rounds": 10,
        }
        for run in (together, asynchronous):
            done = host.flwr_run(run, on="tardy", timeout=540.0)
            status = json.loads((tmp_path / str(run["run-name"]) / "status.json").read_text())
            assert status["state"] == "finished", done.stdout
    waited, buffered = (
        _seconds_an_update(tmp_path / "together"),
        _seconds_an_update(tmp_path / "buffer"),
    )
    slow, quick = _seconds_of(tmp_path / "buffer")
    print(f"an update: {waited:.1f} s together, {buffered:.1f} s in a buffer of two")
    print(f"a training: {quick:.1f} s, and {slow:.1f} s of the slow node")
    assert slow > 2 * quick  # ten times where processes start in seconds
    assert buffered < waited / 2
    # The slow node's update counts, however many rounds it missed.
    stale = [int(age) for line in metrics_of(tmp_path / "buffer")[1:] for age in line["staleness"]]
    assert max(stale) >= 2
    assert [line["clients_answered"] for line in metrics_of(tmp_path / "buffer")[1:]] == [2] * 10


def _seconds_an_update(run: Path) -> float:
    """Wall seconds of all rounds over the updates that they took."""
    lines = metrics_of(run)[1:]
    return sum(line["seconds"] for line in lines) / sum(line["clients_answered"] for line in lines)


def _seconds_of(run: Path) -> tuple[float, float]:
    """The median training of the slow node and of the others."""
    with (run / "events.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["outcome"] == "answered"]
    took = [(row["client"], float(row["arrived"]) - float(row["sent"])) for row in rows]
    return (
        median(seconds for client, seconds in took if client == _SLOW),
        median(seconds for client, seconds in took if client != _SLOW),
    )
