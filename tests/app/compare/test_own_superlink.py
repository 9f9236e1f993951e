"""What is left of a comparison's SuperLink when it ends: nothing."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import psutil
import pytest

from app.cli.comparing import superlink


def test_parents_end_their_own_in_order_and_who_stays_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(superlink, "_STOP_SECONDS", 0.5)
    script = "trap 'echo told >> said; exit 0' TERM; sh -c 'trap \"\" TERM; sleep 60' & wait"
    with subprocess.Popen(["sh", "-c", script], cwd=tmp_path) as head:
        tree = psutil.Process(head.pid)
        deadline = time.monotonic() + 20.0
        while len(tree.children(recursive=True)) < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        everybody = [tree, *tree.children(recursive=True)]
        assert len(everybody) == 3
        superlink.end_processes(everybody)
        assert head.wait(5.0) == 0
    assert (tmp_path / "said").read_text() == "told\n"
    zombie = psutil.STATUS_ZOMBIE
    assert not any(one.is_running() and one.status() != zombie for one in everybody)
