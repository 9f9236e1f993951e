"""Many rounds, a random fault every third: nothing is lost, nothing grows, nothing stays behind."""

from __future__ import annotations

import os
import signal
import time

import numpy as np
import pytest
from breakable import BreakableNodes, resident_bytes
from breakable_runs import ADAPTER, CLIENTS, Federation, wait_for
from flower_host import wait_until

pytestmark = pytest.mark.slow

_ROUNDS = int(os.environ.get("BOUQUET_SOAK_ROUNDS", "12"))
_FROZEN = 75.0  # seconds; Flower thinks a silent node gone after 60
_WARM = 5
"""The round after which memory is compared; before, the server still loads what it needs."""


def _kill_client_app(nodes: BreakableNodes, name: str) -> None:
    # One that is just ending has answered.
    wait_until(lambda: nodes.training(name) is None, 120.0, "a ClientApp's end")
    os.kill(wait_for(lambda: nodes.training(name), 240.0, "a ClientApp"), signal.SIGKILL)


def _kill_and_restart(nodes: BreakableNodes, name: str) -> None:
    nodes.kill_node(name)
    nodes.restart(name)


def _freeze(nodes: BreakableNodes, name: str) -> None:
    nodes.signal(name, signal.SIGSTOP)
    time.sleep(_FROZEN)
    nodes.signal(name, signal.SIGCONT)


def test_a_long_run_survives_everything(federation: Federation) -> None:
    nodes = federation.nodes
    settings = {"num-server-rounds": _ROUNDS, "quorum": 1, "round-timeout": 300}
    run = federation.submit(settings)
    generator = np.random.default_rng(20)
    faults = (_kill_client_app, _kill_and_restart, _freeze)
    before = after = 0
    for server_round in range(3, _ROUNDS, 3):
        run.wait_for_round(server_round - 1)
        if server_round > _WARM:
            after = resident_bytes(wait_for(nodes.server_app, 1.0, "the ServerApp"))
            before = before or after
        time.sleep(generator.uniform(0.0, 10.0))
        fault, name = faults[generator.integers(3)], CLIENTS[generator.integers(2)]
        print(f"after round {run.rounds}: {fault.__name__} at {name}")
        fault(nodes, name)
    assert run.wait_for_end(seconds=120.0 * _ROUNDS) == "finished"
    assert run.rounds == _ROUNDS
    assert after <= 1.05 * before
    wait_until(lambda: nodes.server_app() is None, 30.0, "the ServerApp's end")
    for name in CLIENTS:
        wait_until(lambda name=name: nodes.client_app(name) is None, 90.0, "the ClientApps' end")
        assert len(nodes.members(name)) == 2  # SuperNode and SuperExec
    expected = federation.expected(settings, run.lost)
    assert (run.folder / ADAPTER).read_bytes() == (expected / ADAPTER).read_bytes()
