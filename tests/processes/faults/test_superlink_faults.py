"""A SuperLink that is killed: back at once the run goes on, back late another run continues it."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
from breakable import REPEATS
from breakable_runs import ADAPTER, Federation
from flower_host import wait_until

pytestmark = pytest.mark.slow

_AWAY = 8.0
_TOO_LONG = 75.0


def test_a_superlink_that_comes_back_soon_costs_nothing(federation: Federation) -> None:
    rounds = 2 * REPEATS + 1
    settings = {"num-server-rounds": rounds, "quorum": 2, "round-timeout": 150}
    run = federation.submit(settings)
    generator = np.random.default_rng(4)
    for repeat in range(REPEATS):
        run.wait_for_round(2 * repeat)
        time.sleep(generator.uniform(0.0, 15.0))
        federation.nodes.kill_link()
        time.sleep(_AWAY)
        federation.nodes.start_link()
    assert run.wait_for_end() == "finished"
    assert run.rounds == rounds
    expected = federation.expected(settings, [])
    assert (run.folder / ADAPTER).read_bytes() == (expected / ADAPTER).read_bytes()


@pytest.mark.parametrize("seed", range(REPEATS))
def test_after_a_long_absence_another_run_continues(federation: Federation, seed: int) -> None:
    settings = {"num-server-rounds": 4, "quorum": 2, "round-timeout": 150}
    run = federation.submit(settings)
    run.wait_for_round(1)
    time.sleep(np.random.default_rng((5, seed)).uniform(0.0, 12.0))
    federation.nodes.kill_link()
    killed = time.monotonic()
    done, usual = run.rounds, run.seconds
    # Without a SuperLink the run ends by itself, says why, and lets go of its directory.
    assert run.wait_for_end(seconds=90.0) == "failed"
    status = json.loads((run.folder / "status.json").read_text())
    assert status["code"] == 9
    assert "resume=true" in status["message"]
    wait_until(lambda: federation.nodes.server_app() is None, 30.0, "the ServerApp's end")
    time.sleep(max(0.0, killed + _TOO_LONG - time.monotonic()))

    federation.nodes.start_link()
    began = time.monotonic()
    again = federation.submit({**settings, "resume": True})
    wait_until(lambda: again.state == "running", 120.0, "the run that continues")
    again.wait_for_round(done + 1)
    # On a busy machine: hello, prepare and the round itself take as long as a usual round each.
    assert time.monotonic() - began < max(60.0, 3.5 * usual)
    assert again.wait_for_end() == "finished"
    assert again.rounds == 4
    expected = federation.expected(settings, [])
    assert (run.folder / ADAPTER).read_bytes() == (expected / ADAPTER).read_bytes()
