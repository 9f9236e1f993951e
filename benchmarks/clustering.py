"""Clustering 10,000 clients of a 3-million-parameter adapter from sketches.

A clustering round of `adaptive-clusters` with ``sketch=256, cluster-start='global'``: updates are
made one at a time from a seed (not measured), each is sketched and let go; then the tree, the cut
and everybody's cluster. Printed are seconds for sketching and for clustering (at most 60 wanted
together), the memory that was added (at most 1 GB wanted, with one update in it), whether the
clusters are the true ones, and how long one late joiner takes.
"""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path

import numpy as np

from models.randomness import derive_generator
from models.schema import NamedArrays, Schema
from strategies.clusters.adaptive_clusters import AdaptiveClusters
from strategies.rounds.context import RoundContext, Update
from strategies.transport.roster import Client, Node, Roster

SIZE = 3_000_000
CONCEPTS = 8
SCHEMA = Schema.of(
    {
        "a.lora_A.weight": np.zeros((8, SIZE // 16), np.float32),
        "a.lora_B.weight": np.zeros((SIZE // 16, 8), np.float32),
    },
    {"rank": 8, "alpha": 16.0, "scaling": 2.0},
)


class Clients:
    """Updates around the means of their concepts, whose distance is half that of two clients.

    The noise is a window of one long row of normal numbers, at a place of the client's own.
    """

    def __init__(self) -> None:
        generator = derive_generator(0, "clustering")
        self.means = generator.standard_normal((CONCEPTS, SIZE), dtype=np.float32)
        self.means /= 2
        self._noise = generator.standard_normal(4 * SIZE, dtype=np.float32)
        self._room = np.empty(SIZE, np.float32)

    def update(self, number: int) -> NamedArrays:
        """Return one client's update; the next one takes its place."""
        start = int(derive_generator(0, "place", number).integers(3 * SIZE))
        window = self._noise[start : start + SIZE]
        np.add(self.means[number % CONCEPTS], window, out=self._room)
        return NamedArrays(SCHEMA, self._room)


def resident() -> float:
    """Return the memory of this process now, in GB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e9


def peak() -> float:
    """Return the most memory that this process has had, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def main() -> None:
    """Measure one clustering round."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clients", type=int, default=10_000)
    parser.add_argument("--sketch", type=int, default=256)
    given = parser.parse_args()
    names = [f"client-{number:05d}" for number in range(given.clients)]
    roster = Roster()
    roster.join(Node(0, names[0]), [Client(name, 0, 100) for name in names])
    where = RoundContext(1, 10, roster)
    clients = Clients()
    strategy = AdaptiveClusters(warm_up_rounds=0, cluster_start="global", sketch=given.sketch)
    strategy.initialise(NamedArrays(SCHEMA, np.zeros(SIZE, np.float32)))
    before = resident()

    sketching, worked, part = 0.0, 0.0, strategy.begin(where)
    for number, name in enumerate(names):
        arrays = clients.update(number)
        began, own = time.perf_counter(), time.process_time()
        part.add(Update(name, arrays, 100))
        sketching += time.perf_counter() - began
        worked += time.process_time() - own
    began, own = time.perf_counter(), time.process_time()
    strategy.conclude(part, where)
    clustering = time.perf_counter() - began
    clustering_worked = time.process_time() - own
    added = peak() - before

    found = strategy.assignment
    pairs = {(number % CONCEPTS, found[name]) for number, name in enumerate(names)}
    recovered = len(pairs) == CONCEPTS == len({cluster for _, cluster in pairs})
    roster.join(Node(1, "late"), [Client("late", 1, 100)])
    late = RoundContext(2, 10, roster)
    began = time.perf_counter()
    part = strategy.begin(late)
    part.add(Update("late", clients.update(3), 100))
    strategy.conclude(part, late)
    joining = time.perf_counter() - began
    right = strategy.assignment["late"] == found[names[3]]
    print(
        f"{given.clients} clients, {SIZE:,} numbers, sketches of {given.sketch}\n"
        f"sketching   {sketching:7.1f} s   (processors worked {worked:.1f} s)\n"
        f"clustering  {clustering:7.1f} s   (processors worked {clustering_worked:.1f} s)\n"
        f"together    {sketching + clustering:7.1f} s   (at most 60 wanted)\n"
        f"memory      {added:7.2f} GB added   (at most 1 wanted)\n"
        f"clusters    {len(set(found.values())):7d}      ({CONCEPTS} concepts, "
        f"{'all found' if recovered else 'NOT recovered'})\n"
        f"late joiner {joining:7.2f} s      ({'its own cluster' if right else 'ANOTHER cluster'})"
    )


if __name__ == "__main__":
    main()
