"""The memory of updates: versions, attempts, leavers, checkpoints, bad folders."""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import BouquetError, RunDirectoryError
from strategies.memory.store import UpdateMemory


def opened(folder: Path | None, dtype: str = "float32") -> UpdateMemory:
    return UpdateMemory(folder, 3, dtype)  # type: ignore[arg-type]


def filled(number: float) -> np.ndarray:
    return np.full(3, number, dtype=np.float32)


def known(memory: UpdateMemory, client: str, before: int) -> tuple[float, float, int] | None:
    found = memory.read(client, before)
    return found and (float(found.vector[0]), found.examples, found.round)


def test_a_read_takes_the_newest_version_before_its_round(tmp_path: Path) -> None:
    memory = opened(tmp_path)
    memory.stage("a", 2, filled(2), 10)
    memory.stage("a", 5, filled(5), 11)
    assert [known(memory, "a", t) for t in (2, 3, 5, 6)] == [
        None,
        (2.0, 10.0, 2),
        (2.0, 10.0, 2),
        (5.0, 11.0, 5),
    ]
    assert memory.read("b", 9) is None


def test_a_retry_replaces_its_own_version(tmp_path: Path) -> None:
    memory = opened(tmp_path)
    memory.stage("a", 1, filled(1), 10)
    memory.stage("a", 2, filled(7), 10)
    memory.stage("a", 2, filled(8), 12)
    assert known(memory, "a", 2) == (1.0, 10.0, 1)
    assert known(memory, "a", 3) == (8.0, 12.0, 2)
    assert (tmp_path / "vectors.bin").stat().st_size == 2 * 12


def test_a_failed_attempt_leaves_no_trace(tmp_path: Path) -> None:
    memory = opened(tmp_path)
    memory.stage("a", 1, filled(1), 1)
    memory.save(1)
    for client in ("a", "b", "c"):
        memory.stage(client, 2, filled(9), 9)
    memory.stage("b", 2, filled(4), 4)
    memory.settle(2, ["b"])
    assert list(memory.clients(3)) == [("a", 1.0, 1), ("b", 4.0, 2)]
    assert known(memory, "a", 3) == (1.0, 1.0, 1)
    memory.stage("d", 3, filled(5), 5)  # into a slot that was given back
    assert (tmp_path / "vectors.bin").stat().st_size == 4 * 12


def test_who_leaves_is_gone_at_once_and_older_checkpoints_still_know_it(tmp_path: Path) -> None:
    memory = opened(tmp_path)
    memory.stage("a", 1, filled(3), 7)
    memory.save(1)
    left = memory.forget("a", 2)
    assert left is not None
    assert (left.vector.tolist(), left.examples, left.round) == ([3.0] * 3, 7.0, 1)
    assert memory.forget("a", 2) is None
    memory.settle(2, [])  # an attempt without participants does not bring it back
    assert memory.read("a", 2) is None
    assert len(memory) == 0
    memory.stage("a", 2, filled(4), 8)  # it came back in the same round
    assert (memory.read("a", 2), known(memory, "a", 3)) == (None, (4.0, 8.0, 2))
    memory.save(2)
    memory.restore(1)
    assert known(memory, "a", 2) == (3.0, 7.0, 1)


def test_pruning_removes_leavers_and_keeps_what_restore_needs(tmp_path: Path) -> None:
    memory = opened(tmp_path)
    for server_round in range(1, 6):
        memory.stage("often", server_round, filled(server_round), 1)
        if server_round == 1:
            memory.stage("once", 1, filled(10), 1)
            memory.stage("leaver", 1, filled(20), 1)
        if server_round == 3:
            memory.forget("leaver", 3)
        memory.save(server_round)
    memory.prune(4)
    assert memory.read("often", 4) is None
    assert known(memory, "often", 5) == (4.0, 1.0, 4)
    with pytest.raises(RunDirectoryError, match="holds rounds 4 to 5"):
        memory.restore(3)
    memory.restore(4)
    assert list(memory.clients(9)) == [("often", 1.0, 4), ("once", 1.0, 1)]
    assert known(memory, "once", 9) == (10.0, 1.0, 1)


def test_a_checkpoint_of_a_round_without_participants_goes_back_to_the_one_before() -> None:
    memory = opened(None)
    for server_round in (1, 2, 3, 6):
        memory.stage("a", server_round, filled(server_round), 1)
        memory.save(server_round)
    memory.prune(5)  # its checkpoint restores round 3
    memory.restore(3)
    assert known(memory, "a", 9) == (3.0, 1.0, 3)


def test_round_zero_is_the_empty_memory(tmp_path: Path) -> None:
    memory = opened(tmp_path)
    memory.restore(0)
    for server_round in (1, 2):
        memory.stage("a", server_round, filled(1), 1)
        memory.save(server_round)
    memory.prune(2)
    memory.restore(0)
    assert len(memory) == 0
    memory.stage("a", 1, filled(2), 1)
    assert known(memory, "a", 2) == (2.0, 1.0, 1)


def test_rounds_that_were_lost_are_noticed(tmp_path: Path) -> None:
    memory = opened(tmp_path)
    memory.stage("a", 1, filled(1), 1)
    memory.save(1)
    with pytest.raises(RunDirectoryError, match=r"cannot go to round 4: .* bring back the folder"):
        memory.restore(4)
    for action in (
        lambda: memory.stage("a", 1, filled(1), 1),
        lambda: memory.settle(1, []),
        lambda: memory.forget("a", 1),
    ):
        with pytest.raises(BouquetError, match="round 1 is saved; call restore"):
            action()
    with pytest.raises(BouquetError, match="cannot be saved after round 1"):
        memory.save(0)


def test_float16_is_rounded_clamped_and_returned_as_stored(tmp_path: Path) -> None:
    memory = opened(tmp_path, "float16")
    numbers = np.array([0.1, 1e6, -1e6])
    stored = memory.stage("a", 1, numbers, 1)
    found = memory.read("a", 2)
    assert found is not None
    assert stored.dtype == found.vector.dtype == np.float32
    np.testing.assert_array_equal(stored, [np.float32(np.float16(0.1)), 65504, -65504])
    np.testing.assert_array_equal(stored, found.vector)
    assert (tmp_path / "vectors.bin").stat().st_size == 3 * 2


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    memory = opened(tmp_path)
    with pytest.raises(BouquetError, match=r"shape \(2,\) of 'a' in round 1"):
        memory.stage("a", 1, np.zeros(2), 1)
    with pytest.raises(BouquetError, match="'a' in round 1 has numbers that are not finite"):
        memory.stage("a", 1, np.array([0, np.nan, 0]), 1)
    with pytest.raises(BouquetError, match="the size is at least 1"):
        UpdateMemory(None, 0, "float32")
    memory.close()
    with pytest.raises(RunDirectoryError, match="has size 3, this run needs 4"):
        UpdateMemory(tmp_path, 4, "float32")
    with pytest.raises(RunDirectoryError, match="has dtype float32, this run needs float16"):
        opened(tmp_path, "float16")
    assert len(opened(tmp_path)) == 0


def test_damage_is_named(tmp_path: Path) -> None:
    memory = opened(tmp_path)
    memory.stage("a", 1, filled(1), 1)
    memory.save(1)
    memory.close()
    data = bytearray((tmp_path / "vectors.bin").read_bytes())
    data[5] ^= 1
    (tmp_path / "vectors.bin").write_bytes(data)
    with pytest.raises(RunDirectoryError, match="the update of 'a' of round 1 is damaged"):
        opened(tmp_path).read("a", 2)
    (tmp_path / "vectors.bin").write_bytes(data[:-1])
    with pytest.raises(RunDirectoryError, match=r"has 11 bytes, .* need 12"):
        opened(tmp_path)
    (tmp_path / "versions.sqlite").write_bytes(b"no database " * 100)
    with pytest.raises(RunDirectoryError, match="cannot open the memory of updates"):
        opened(tmp_path)


def test_a_folder_opened_again_belongs_to_the_new_object(tmp_path: Path) -> None:
    first = opened(tmp_path)
    first.stage("a", 1, filled(1), 1)
    first.save(1)
    first.stage("a", 2, filled(2), 1)
    second = opened(tmp_path)
    assert known(second, "a", 9) == (1.0, 1.0, 1)
    with pytest.raises(RunDirectoryError, match="cannot read"):
        first.read("a", 1)
    with pytest.raises(RunDirectoryError, match="cannot save"):
        first.save(2)
    first.close()
    second.stage("a", 2, filled(3), 1)
    assert known(second, "a", 9) == (3.0, 1.0, 2)


@pytest.mark.parametrize("close", [True, False])
def test_a_temporary_memory_goes_with_its_object(close: bool) -> None:
    memory = opened(None)
    memory.stage("a", 1, filled(1), 1)
    folder = memory.folder
    assert (folder / "vectors.bin").exists()
    if close:
        memory.close()
    else:
        del memory
        gc.collect()
    assert not folder.exists()


def test_slots_are_used_again_so_that_the_file_stays_small(tmp_path: Path) -> None:
    memory = opened(tmp_path)
    rng = np.random.default_rng(0)
    for i in range(500):
        memory.stage(f"c-{i}", 1, filled(i), 1)
    memory.save(1)
    for server_round in range(2, 40):
        for i in rng.choice(500, size=5, replace=False):
            memory.stage(f"c-{i}", server_round, filled(server_round), 1)
        memory.save(server_round)
        memory.prune(server_round - 1)
    assert len(memory) == 500
    assert (tmp_path / "vectors.bin").stat().st_size <= 1.05 * 500 * 12


steps = st.lists(
    st.one_of(
        st.tuples(st.just("round"), st.sets(st.integers(0, 4)), st.sets(st.integers(0, 4))),
        st.tuples(st.just("forget"), st.integers(0, 4)),
        st.tuples(st.just("save")),
        st.tuples(st.just("crash")),
    ),
    max_size=25,
)


@settings(max_examples=25, deadline=None)
@given(steps, st.integers(1, 3))
def test_it_behaves_as_a_dictionary_copied_at_every_checkpoint(
    tmp_path_factory: pytest.TempPathFactory, play: list[tuple], keep: int
) -> None:
    folder = tmp_path_factory.mktemp("memory")
    memory = opened(folder)
    now: dict[str, float] = {}
    checkpoints: dict[int, dict[str, float]] = {0: {}}
    t, value, left = 1, 0.0, False
    for step in play:
        if step[0] == "round":
            for i in sorted(step[1] | step[2]):  # those who only failed, and those who count
                value += 1
                memory.stage(f"c-{i}", t, filled(value), value)
                if i in step[2]:
                    now[f"c-{i}"] = value
            memory.settle(t, [f"c-{i}" for i in step[2]])
            t, left = t + 1, False
        elif step[0] == "forget":
            last = memory.forget(f"c-{step[1]}", t)
            assert (last and last.examples) == now.pop(f"c-{step[1]}", None)
            left = True  # before round t: what is saved next is round t
        elif step[0] == "save" and t - 1 > max(checkpoints) and not left:
            memory.save(t - 1)
            checkpoints[t - 1] = dict(now)
            for old in sorted(checkpoints)[:-keep]:
                del checkpoints[old]
            memory.prune(min(checkpoints))
        elif step[0] == "crash":
            chosen = sorted(checkpoints)[-1 if len(checkpoints) < 2 else -2]
            memory = opened(folder)
            memory.restore(chosen)
            checkpoints = {r: state for r, state in checkpoints.items() if r <= chosen}
            now, t, left = dict(checkpoints[chosen]), chosen + 1, False
        assert {c: n for c, n, _ in memory.clients(t)} == now
        for client, number in now.items():
            found = memory.read(client, t)
            assert found is not None
            np.testing.assert_array_equal(found.vector, filled(number))
