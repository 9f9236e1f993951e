"""docs/start.md as a newcomer follows it: every command and every snippet, one after the other."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from flower_host import ROOT, FlowerHost


@pytest.mark.slow
def test_the_first_page_runs_as_written(simulator: FlowerHost, tmp_path: Path) -> None:
    text = (ROOT / "docs" / "start.md").read_text()
    blocks = re.findall(r"^```(sh|python)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert "pip install" in blocks[0][1]
    env = {**simulator.env, "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    for kind, code in blocks[1:]:
        shell = ["bash", "-euxc", code] if kind == "sh" else [sys.executable, "-c", code]
        done = subprocess.run(
            shell, cwd=tmp_path, env=env, capture_output=True, text=True, check=False
        )
        # The doctor answers 1 where this machine wants mending, a full disk for instance.
        allowed = {0, 1} if "bouquet doctor" in code else {0}
        assert done.returncode in allowed, done.stdout + done.stderr
    for named in re.findall(r"~/([\w./-]+\.html|[\w./-]+/)", text):
        assert (tmp_path / named).exists(), named
