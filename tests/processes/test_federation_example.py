"""The federation for trying it: it runs, and nothing of it stays."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from flower_host import ROOT, FlowerHost, wait_until
from hospitals import metrics_of

pytestmark = pytest.mark.slow

_SCRIPT = ROOT / "examples" / "federation" / "federation.py"


def _command(folder: Path, *words: str) -> list[str]:
    return [sys.executable, str(_SCRIPT), "--folder", str(folder), *words]


def _nobody_listens(address: str) -> bool:
    host, port = address.rsplit(":", 1)
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) != 0


def test_it_runs_once_and_leaves_no_process(host: FlowerHost, tmp_path: Path) -> None:
    folder = tmp_path / "federation"
    done = subprocess.run(
        _command(folder, "--run", "num-server-rounds=1", "run-name=tried", "threads=1", "quorum=2"),
        env=host.env,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert host.processes() == []
    run = folder / "runs" / "tried"
    assert json.loads((run / "status.json").read_text())["state"] == "finished"
    last = metrics_of(run)[-1]
    assert (last["round"], last["clients_answered"], last["rejected"]) == (1, 2, [])
    secrets = [f for f in (folder / "keys").iterdir() if f.suffix in (".key", ".secret")]
    assert len(secrets) == 5
    assert {stat.S_IMODE(file.stat().st_mode) for file in secrets} == {0o600}
    assert (folder / "server" / "superlink.db").stat().st_size > 0


def test_sigterm_ends_everything_and_a_second_start_knows_its_nodes(
    host: FlowerHost, tmp_path: Path
) -> None:
    folder = tmp_path / "federation"
    nodes: list[set[str]] = []
    for attempt in range(2):
        log = tmp_path / f"{attempt}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                _command(folder), env=host.env, stdout=out, stderr=subprocess.STDOUT
            )
        wait_until(
            lambda log=log, process=process: (
                process.poll() is not None or "until Ctrl-C" in log.read_text()
            ),
            180.0,
            "the federation",
        )
        assert process.poll() is None, log.read_text()
        address = log.read_text().split("https://")[1].split(";")[0]
        assert not _nobody_listens(address)
        listed = subprocess.run(
            ["flwr", "supernode", "list", "federation", "--format", "json"],
            env={**host.env, "FLWR_HOME": str(folder / "flower")},
            capture_output=True,
            text=True,
            check=True,
        )
        told = json.loads(listed.stdout)["nodes"]
        assert {node["status"] for node in told} == {"online"}
        nodes.append({str(node["node-id"]) for node in told})
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(60) == 128 + signal.SIGTERM
        assert host.processes() == []
        assert _nobody_listens(address)
    assert len(nodes[0]) == 2
    assert nodes[0] == nodes[1]
