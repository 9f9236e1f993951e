"""What the virtual clock costs beyond the training: 10,000 clients, 100,000 trainings.

Clients answer at once (`InstantClients`): what is left is bookkeeping. Printed are the seconds of

* the clock alone: every client is asked again as soon as it has answered;
* whole rounds on it: FedAvg in the one loop, closed by a buffer of 100 updates; with everybody
  training all the time, with 1,000 at once, and with half of the clients there at a time;
* the same trainings in synchronous rounds without a clock, for comparison.

At most 30 s on two cores are wanted for the clock, and for the rounds on it.
"""

from __future__ import annotations

import argparse
import math
import os
import resource
import time
from collections.abc import Callable

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np

from fedbouquet.testing import InstantClients
from models.schema import NamedArrays
from strategies.clock.population import make_population
from strategies.clock.scenario import Scenario
from strategies.clock.virtual_grid import VirtualGrid
from strategies.fedavg import FedAvg
from strategies.participation import make_participation
from strategies.rounds.closing import make_closing
from strategies.rounds.loop import RoundLoop
from strategies.rounds.options import LoopOptions
from strategies.transport.exchange import Request

START = NamedArrays.of({"w": np.zeros(1000, np.float32)})
BUFFER = 100


def scenario(participation: str = "always") -> Scenario:
    """Return a population with everything that costs: a tail, links, jitter, drop-out."""
    options = {"uplink": 1e6, "downlink": 1e6, "link-sigma": 0.5, "jitter": 0.2, "tick": 10.0}
    return Scenario(
        make_population("pareto", options, seed=1),
        make_participation(participation, {"dropout": 0.01}, seed=1),
    )


def clock_alone(clients: int, events: int) -> float:
    """Ask every client again as soon as it answered; return the virtual seconds."""
    grid = VirtualGrid(InstantClients(clients, START), scenario())

    def build(client: str) -> Request:
        return Request(client, START)

    grid.send(grid.roster.ids, build, server_round=1, timeout=3600.0)
    done = 0
    while done < events:
        arrivals = grid.next(math.inf)
        done += len(arrivals)
        who = [arrival.item.client for arrival in arrivals]
        grid.send(who, build, server_round=1 + done // BUFFER, timeout=3600.0)
    grid.trainings()
    return grid.now()


def rounds(clients: int, events: int, who: Scenario, concurrency: int = 0) -> float:
    """Run FedAvg on the clock; return the virtual seconds."""
    strategy, grid = FedAvg(), VirtualGrid(InstantClients(clients, START), who)
    rule = make_closing("buffer", strategy, {"size": BUFFER, "concurrency": concurrency})
    options = LoopOptions(num_rounds=events // BUFFER, evaluate_every=0)
    run(RoundLoop(strategy, grid, options, closing=rule, participation=grid.presence))
    return grid.now()


def synchronous(clients: int, events: int) -> float:
    """Run FedAvg without a clock."""
    options = LoopOptions(num_rounds=events // clients, evaluate_every=0)
    run(RoundLoop(FedAvg(), InstantClients(clients, START), options))
    return 0.0


def run(loop: RoundLoop) -> None:
    """Run all rounds."""
    loop.start(START)
    for _ in loop.rounds():
        pass


def timed(name: str, made: Callable[[], float]) -> None:
    """Print how long it takes, of the wall's and of the processor's time."""
    wall, processor = time.perf_counter(), time.process_time()
    virtual = made()
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    said = f", {virtual:,.0f} virtual seconds" if virtual else ""
    print(f"{name}: {wall:.1f} s ({processor:.1f} s of one core){said}", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=10_000)
    parser.add_argument("--events", type=int, default=100_000)
    given = parser.parse_args()
    clients, events = given.clients, given.events
    print(f"{clients:,} clients, {events:,} trainings")
    timed("the clock alone", lambda: clock_alone(clients, events))
    timed(f"rounds of {BUFFER} on the clock", lambda: rounds(clients, events, scenario()))
    most = max(1, clients // 10)
    timed(f"with {most:,} at once", lambda: rounds(clients, events, scenario(), most))
    timed("with half of them there", lambda: rounds(clients, events, scenario("markov")))
    timed("synchronous rounds, no clock", lambda: synchronous(clients, events))
    print(f"at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MB")


if __name__ == "__main__":
    main()
