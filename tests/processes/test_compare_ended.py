"""``bouquet compare`` told to end in the middle of a run, and continued."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
from flower_host import FlowerHost, wait_until


@pytest.mark.slow
def test_nothing_stays_behind_and_the_same_command_goes_on(
    host: FlowerHost, vit_folder: Path, tmp_path: Path
) -> None:
    words = ["num-clients=3", "num-server-rounds=8", "local-steps=20", f"model={vit_folder}"]
    command = ["bouquet", "compare", "digits", *words, "adapter-args=rank=2"]
    command += ["--methods", "fedavg, fedper", "--out", str(tmp_path / "out")]
    runs = tmp_path / "out"
    comparing = host.start("compare", command)
    wait_until(lambda: any(runs.rglob("metrics.jsonl")), 200.0, "a round")
    comparing.send_signal(signal.SIGTERM)
    assert comparing.wait(120.0) == 130, host.log("compare")
    assert host.processes() == []
    states = [json.loads(file.read_text())["state"] for file in runs.rglob("status.json")]
    assert states == ["stopped"]
    done = host.run(command, timeout=500.0)
    assert done.returncode == 0, done.stdout
    assert "fedavg, seed 42: continued" in done.stdout
    states = [json.loads(file.read_text())["state"] for file in runs.rglob("status.json")]
    assert states == ["finished"] * 3  # the two, and each client alone
    assert host.processes() == []
