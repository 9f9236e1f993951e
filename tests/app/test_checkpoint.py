from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from app.run_directory.checkpoint import Checkpoints
from models.errors import RunDirectoryError
from strategies.base import State
from strategies.rounds.record import Ledger


def save(places: Checkpoints, server_round: int) -> None:
    ledger = Ledger()
    ledger.of("c").rounds = server_round
    state = State({"arrays": np.full(4, server_round, np.float32)}, {"x": None, "y": 0.1})
    places.save(server_round, state, ledger, ["{}"] * (server_round + 1))


def test_what_was_saved_comes_back_and_old_ones_go(tmp_path: Path) -> None:
    places = Checkpoints(tmp_path, "me", keep=2)
    for server_round in range(5):
        save(places, server_round)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["round-000003", "round-000004"]
    found = places.newest()
    assert found is not None
    assert found.round == 4
    assert found.state.arrays["arrays"].tolist() == [4, 4, 4, 4]
    assert found.state.values == {"x": None, "y": 0.1}
    assert found.ledger.of("c").rounds == 4
    assert len(found.history) == 5


@pytest.mark.parametrize("name", ["state.safetensors", "state.json", "manifest.json"])
def test_every_flipped_byte_is_noticed(tmp_path: Path, name: str) -> None:
    places = Checkpoints(tmp_path, "me", keep=2)
    save(places, 1)
    save(places, 2)
    file = tmp_path / "round-000002" / name
    whole = file.read_bytes()
    for place in range(0, len(whole), max(1, len(whole) // 60)):
        damaged = bytearray(whole)
        damaged[place] ^= 0x10
        file.write_bytes(bytes(damaged))
        found = places.newest()
        assert found is not None
        assert found.round == 1, f"byte {place} of {name}"
    for length in (0, 1, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:length])
        found = places.newest()
        assert found is not None
        # A manifest that lost only its last line break still says the same.
        assert found.round == 1 or (name == "manifest.json" and length == len(whole) - 1)


def test_a_checkpoint_of_another_run_or_format_is_not_used(tmp_path: Path) -> None:
    save(Checkpoints(tmp_path, "other", keep=2), 1)
    assert Checkpoints(tmp_path, "me", keep=2).newest() is None


def save_until(folder: Path, fatal: int) -> int:
    """Save in a child process that dies at the given system call; return its exit status."""
    child = os.fork()
    if child == 0:
        calls = 0

        def guarded(real: Callable[..., object]) -> Callable[..., object]:
            def call(*args: object, **kwargs: object) -> object:
                nonlocal calls
                calls += 1
                if calls == fatal:
                    os._exit(9)
                return real(*args, **kwargs)

            return call

        for owner, name in (
            *((os, name) for name in ("fsync", "open", "unlink", "rmdir", "scandir", "stat")),
            *((Path, name) for name in ("open", "replace", "unlink", "mkdir")),
        ):
            setattr(owner, name, guarded(getattr(owner, name)))
        try:
            save(Checkpoints(folder, "me", keep=1), 2)
        except BaseException:
            os._exit(8)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_crash_at_any_call_leaves_the_old_or_the_new(tmp_path: Path) -> None:
    outcomes = []
    for fatal in range(1, 200):
        folder = tmp_path / f"run-{fatal}"
        places = Checkpoints(folder, "me", keep=1)
        save(places, 1)
        code = save_until(folder, fatal)
        assert code in (0, 9)
        found = places.newest()
        assert found is not None, f"unreadable after a crash at call {fatal}"
        outcomes.append(found.round)
        if code == 0:
            break
    assert code == 0, "the writer never came to its end"
    assert len(outcomes) > 15
    assert outcomes == sorted(outcomes)
    assert outcomes[0] == 1
    assert outcomes[-1] == 2


def test_a_full_disk_says_so_and_keeps_the_one_before(tmp_path: Path) -> None:
    places = Checkpoints(tmp_path, "me", keep=1)
    save(places, 1)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    refused: list[str] = []
    for limit in range(0, 400, 20):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
        try:
            save(places, 2)
        except RunDirectoryError as error:
            refused.append(str(error))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        found = places.newest()
        assert found is not None
        assert found.round == (1 if len(refused) == limit // 20 + 1 else 2)
    assert 0 < len(refused) < 20
    assert all("round-000002" in text and "bytes" in text for text in refused)
