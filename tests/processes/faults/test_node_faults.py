"""Nodes that lose a process, freeze, or are killed: the run goes on, and its result is exact."""

from __future__ import annotations

import contextlib
import os
import signal
import time

import numpy as np
import pytest
from breakable import REPEATS
from breakable_runs import ADAPTER, Answer, Federation, Run, wait_for
from flower_host import wait_until

pytestmark = pytest.mark.slow

_TIMEOUT = 300
_SHORT_TIMEOUT = int(os.environ.get("BOUQUET_FAULT_TIMEOUT", "45"))
"""Seconds; must be longer than an undisturbed round on this machine."""

_ROUNDS_A_FAULT = 4
_VICTIM = "hospital-b"
Settings = dict[str, str | int | float | bool]


def _settings(**changes: str | int) -> Settings:
    rounds = 2 + REPEATS * _ROUNDS_A_FAULT
    return {"num-server-rounds": rounds, "quorum": 1, "round-timeout": _TIMEOUT, **changes}


def _wait_until_back(federation: Federation, run: Run) -> int:
    """Wait for a round in which the victim answered, and its process's end; return the next."""
    while (over := run.rounds) < 1 or (over, _VICTIM) in run.lost:
        run.wait_for_round(over + 1)
    wait_until(lambda: federation.nodes.training(_VICTIM) is None, 30.0, "a ClientApp's end")
    return over + 1


def _pause(federation: Federation, generator: np.random.Generator) -> int:
    """Wait until the victim trains, and a random while; return its process."""
    process = wait_for(lambda: federation.nodes.training(_VICTIM), 240.0, "a ClientApp")
    time.sleep(generator.uniform(0.0, 3.0))
    return process


def _kill(federation: Federation, process: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # it was faster
        os.kill(process, signal.SIGKILL)
    wait_until(lambda: federation.nodes.client_app(_VICTIM) != process, 10.0, "its end")


def _check_exact(federation: Federation, run: Run, settings: Settings) -> None:
    assert run.wait_for_end() == "finished"
    assert run.rounds == settings["num-server-rounds"]
    assert {client for _, client in run.lost} <= {_VICTIM}
    assert (run.rounds, _VICTIM) not in run.lost
    expected = federation.expected(settings, run.lost)
    assert (run.folder / ADAPTER).read_bytes() == (expected / ADAPTER).read_bytes()


def test_a_client_app_that_is_killed_is_asked_again(federation: Federation) -> None:
    """Once in the same round; killed again, its answer is lost, and it is asked in the next."""
    settings = _settings()
    run = federation.submit(settings)
    generator = np.random.default_rng(1)
    hit: set[Answer] = set()
    for _ in range(REPEATS):
        # One that has not fetched its message yet is started again by its SuperNode.
        number = _wait_until_back(federation, run)
        process = wait_for(lambda: federation.nodes.client_app(_VICTIM), 240.0, "a ClientApp")
        time.sleep(generator.uniform(0.0, 1.0))
        _kill(federation, process)
        run.wait_for_round(number)
        assert (number, _VICTIM) not in run.lost
        # The SuperNode notices within 60 s, and our server asks once more.
        number = _wait_until_back(federation, run)
        hit.add((number, _VICTIM))
        for _ in range(2):
            _kill(federation, _pause(federation, generator))
        run.wait_for_round(number)
        assert _wait_until_back(federation, run) <= number + 2
    _check_exact(federation, run, settings)
    # The odd process had answered when it was killed; that costs nothing.
    assert run.lost <= hit & run.named
    assert run.lost


@pytest.mark.parametrize(
    ("timeout", "frozen"), [(_SHORT_TIMEOUT, _SHORT_TIMEOUT + 3.0), (_TIMEOUT, 75.0)]
)
def test_a_frozen_node_counts_once_at_most_and_comes_back(
    federation: Federation, timeout: int, frozen: float
) -> None:
    settings = _settings(**{"round-timeout": timeout})
    run = federation.submit(settings)
    generator = np.random.default_rng(3)
    hit: set[Answer] = set()
    for _ in range(REPEATS):
        number = _wait_until_back(federation, run)
        _pause(federation, generator)
        if federation.nodes.client_app(_VICTIM) is not None:
            hit.add((number, _VICTIM))
        federation.nodes.signal(_VICTIM, signal.SIGSTOP)
        time.sleep(frozen)
        thawed_in = run.rounds + 1
        federation.nodes.signal(_VICTIM, signal.SIGCONT)
        back = _wait_until_back(federation, run) - 1
        assert back <= thawed_in + 1
    _check_exact(federation, run, settings)
    assert run.lost & hit & run.named


def test_a_killed_node_finds_its_clients_personal_state_again(federation: Federation) -> None:
    settings = _settings(strategy="fedper")
    run = federation.submit(settings)
    generator = np.random.default_rng(2)
    trained: set[str] = set()
    for _ in range(REPEATS):
        number = _wait_until_back(federation, run)
        _pause(federation, generator)
        federation.nodes.kill_node(_VICTIM)
        trained |= _kept(federation)
        federation.nodes.restart(_VICTIM)
        run.wait_for_round(number)
        _wait_until_back(federation, run)
    assert run.wait_for_end() == "finished"
    assert run.rounds == settings["num-server-rounds"]
    # Whoever was killed before it trained has kept nothing of that round.
    untouched = {answer for answer in run.lost if not _has_kept(trained, answer[0])}
    expected = federation.expected(settings, run.lost, untouched)
    # No model serves everybody here: the shared part is in the checkpoint.
    shared = f"checkpoints/round-{run.rounds:06d}/state.safetensors"
    assert (run.folder / shared).read_bytes() == (expected / shared).read_bytes()
    assert _files(federation, "nodes") == _files(federation, "expected")


def _kept(federation: Federation) -> set[str]:
    return {p.name for p in federation.state_of(_VICTIM).glob("personal/*/*/*")}


def _has_kept(names: set[str], server_round: int) -> bool:
    return f"round-{server_round:06d}.safetensors" in names


def _files(federation: Federation, where: str) -> dict[str, bytes]:
    """Return the personal state below the run's own folder."""
    found = federation.state_of(_VICTIM, where).glob("personal/*/*/*")
    return {"/".join(p.parts[-2:]): p.read_bytes() for p in found}
