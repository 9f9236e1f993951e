from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients.personal_state import PersonalState
from models.errors import DataError

RUN = "0123456789abcdef"


def state(folder: Path, client: str = "hospital-a", run: str = RUN) -> PersonalState:
    return PersonalState(folder, run, client)


def test_a_round_reads_what_came_before_it(tmp_path: Path) -> None:
    mine = state(tmp_path)
    assert mine.before(1) is None
    for server_round in (1, 4, 10):
        mine.write(
            server_round, {"b": np.full(3, server_round, np.float32)}, {"seen": server_round}
        )
    for asked, found in ((1, None), (2, 1), (4, 1), (5, 4), (10, 4), (11, 10), (999, 10)):
        kept = state(tmp_path).before(asked)
        if found is None:
            assert kept is None
        else:
            assert kept is not None
            assert kept.round == kept.values["seen"] == found
            assert kept.arrays["b"].tolist() == [found] * 3


def test_a_retry_repeats_itself(tmp_path: Path) -> None:
    mine = state(tmp_path)
    mine.write(1, {"b": np.float32([1])})
    for _ in range(3):
        kept = mine.before(2)
        assert kept is not None
        mine.write(2, {"b": kept.arrays["b"] + 1})
    after = mine.before(3)
    assert after is not None
    assert after.arrays["b"].tolist() == [2.0]


def test_clients_and_runs_are_apart_whatever_they_are_called(tmp_path: Path) -> None:
    names = ["a/b", "a_b", "a b", "../a", "x" * 300, "Ä", "ä"]
    for i, name in enumerate(names):
        state(tmp_path, name).write(1, {"v": np.int64([i])})
    for i, name in enumerate(names):
        kept = state(tmp_path, name).before(2)
        assert kept is not None
        assert kept.arrays["v"].tolist() == [i]
    assert state(tmp_path, "a/b", "fedcba9876543210").before(2) is None
    assert {p.name for p in tmp_path.iterdir()} == {"personal"}
    with pytest.raises(DataError, match="no run's id"):
        state(tmp_path, "a", "../../etc")


def test_versions_back_to_the_oldest_checkpoint_stay(tmp_path: Path) -> None:
    mine = state(tmp_path)
    for server_round in range(1, 8):
        mine.write(server_round, {"v": np.float32([server_round])})
    mine.forget_before(5)
    kept = mine.before(6)
    assert kept is not None
    assert kept.round == 5
    assert mine.before(5) is None
    newest = mine.before(99)
    assert newest is not None
    assert newest.round == 7


@given(st.binary(min_size=1, max_size=3), st.integers(0, 10**6))
def test_damage_is_noticed(tmp_path_factory: pytest.TempPathFactory, junk: bytes, at: int) -> None:
    folder = tmp_path_factory.mktemp("s")
    state(folder).write(1, {"v": np.arange(8, dtype=np.float32)}, {"k": "v"})
    (file,) = folder.rglob("*.safetensors")
    whole = file.read_bytes()
    place = at % (len(whole) - len(junk))
    damaged = whole[:place] + junk + whole[place + len(junk) :]
    file.write_bytes(damaged)
    if damaged == whole:
        assert state(folder).before(2) is not None
    else:
        with pytest.raises(DataError, match="damaged; remove this file"):
            state(folder).before(2)


def test_a_crash_while_writing_leaves_the_version_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = state(tmp_path)
    mine.write(1, {"v": np.float32([1])})

    def crash(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", crash)
    with pytest.raises(OSError, match="No space"):
        mine.write(2, {"v": np.float32([2])})
    kept = mine.before(9)
    assert kept is not None
    assert kept.round == 1
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["round-000001.safetensors"]
