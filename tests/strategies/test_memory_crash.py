"""A process that dies at any point leaves a memory that agrees with its last checkpoint."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from models.errors import RunDirectoryError
from strategies.memory.store import UpdateMemory

ROOT = Path(__file__).resolve().parents[2]

# Client c-i writes 100 t + i in round t if t + i is even; a checkpoint is a line with its round.
SCRIPT = """
import os, sys
from pathlib import Path
import numpy as np
from strategies.memory.store import UpdateMemory

folder, point = Path(sys.argv[1]), int(sys.argv[2])
steps = 0

def step():
    global steps
    steps += 1
    if steps == point:
        os._exit(9)

memory = UpdateMemory(folder / "memory", 50, "float32")
for t in range(1, 7):
    for i in range(6):
        if (t + i) % 2 == 0:
            memory.stage(f"c-{i}", t, np.full(50, 100.0 * t + i), t)
            step()
    memory.settle(t, [f"c-{i}" for i in range(1, 6) if (t + i) % 2 == 0])
    step()
    if t % 2 == 0:
        memory.save(t)
        step()
        with (folder / "checkpoints").open("a") as stream:
            stream.write(f"{t}\\n")
        step()
        memory.prune(t - 2)
        step()
print(steps)
"""


def play(folder: Path, point: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", SCRIPT, str(folder), str(point)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)


def check(memory: UpdateMemory, last: int) -> None:
    for i in range(6):
        rounds = [t for t in range(1, last + 1) if (t + i) % 2 == 0] if i else []
        found = memory.read(f"c-{i}", last + 1)
        assert (found and found.round) == (rounds[-1] if rounds else None)
        if found:
            np.testing.assert_array_equal(found.vector, np.float32(100 * rounds[-1] + i))
            assert found.examples == rounds[-1]


@pytest.mark.parametrize("point", [1, 9, 10, 11, 14, 20, 21, 22, 30])
def test_a_crash_leaves_the_last_checkpoint_and_the_one_before(tmp_path: Path, point: int) -> None:
    assert play(tmp_path, point).returncode == 9
    lines = tmp_path / "checkpoints"
    known = [0, *map(int, lines.read_text().split())] if lines.exists() else [0]
    memory = UpdateMemory(tmp_path / "memory", 50, "float32")
    memory.restore(known[-1])
    check(memory, known[-1])
    if len(known) > 1:
        memory.restore(known[-2])
        check(memory, known[-2])


def test_the_whole_script_is_longer_than_the_crashes(tmp_path: Path) -> None:
    done = play(tmp_path, 0)
    assert int(done.stdout) == 33
    memory = UpdateMemory(tmp_path / "memory", 50, "float32")
    memory.restore(6)
    check(memory, 6)


def test_another_process_is_refused(tmp_path: Path) -> None:
    memory = UpdateMemory(tmp_path / "memory", 50, "float32")
    memory.stage("mine", 1, np.ones(50), 1)
    done = play(tmp_path, 0)
    assert done.returncode == 1
    assert RunDirectoryError.__name__ in done.stderr
    assert "belongs to one process" in done.stderr
    memory.save(1)
    assert [client for client, _, _ in memory.clients(2)] == ["mine"]
