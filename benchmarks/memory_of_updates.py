"""The memory of updates with 100,000 clients against the same with 1,000.

A round reads 100 random clients, stages their next updates of 35,000 numbers, settles, saves and
prunes, as with a checkpoint after every round of which two are kept. Filling the memory is not
timed. The rounds of both sizes alternate, so that whatever else the machine does slows both alike.
It needs 14 GB of disk (float16: 7 GB).
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from strategies.memory.store import UpdateMemory

NUMBERS, COHORT, ROUNDS, WARM_UP = 35_000, 100, 60, 10


def private() -> float:
    """Return this process's anonymous private memory in MB."""
    fields = dict(
        line.split(":", 1)
        for line in Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]
        if ":" in line
    )
    return int(fields["Anonymous"].split()[0]) / 1024


class Side:
    """One memory, filled, and what its rounds took."""

    def __init__(self, clients: int, dtype: str, folder: Path) -> None:
        self.clients = clients
        self.folder = folder
        self.seconds: list[float] = []
        self._rng = np.random.default_rng(clients)
        self._updates = self._rng.normal(scale=0.01, size=(COHORT, NUMBERS)).astype(np.float32)
        start = private()
        self.memory = UpdateMemory(folder, NUMBERS, dtype)  # type: ignore[arg-type]
        for i in range(clients):
            self.memory.stage(f"client-{i:06d}", 1, self._updates[i % COHORT], 50)
        self.memory.save(1)
        self.private = private() - start

    def play(self, server_round: int) -> None:
        """Run one round and note its seconds and private memory."""
        chosen = self._rng.choice(self.clients, size=COHORT, replace=False)
        cohort = [f"client-{i:06d}" for i in chosen]
        start, began = private(), time.perf_counter()
        for client, update in zip(cohort, self._updates, strict=True):
            self.memory.read(client, server_round)
            self.memory.stage(client, server_round, update, 50)
        self.memory.settle(server_round, cohort)
        self.memory.save(server_round)
        self.memory.prune(server_round - 1)
        self.seconds.append(time.perf_counter() - began)
        self.private += private() - start

    def report(self, dtype: str) -> float:
        """Print the results and return the median seconds of a round."""
        if len(self.memory) != self.clients:
            sys.exit(f"{len(self.memory)} clients are remembered, not {self.clients}")
        disk = sum(file.stat().st_size for file in self.folder.iterdir())
        raw = self.clients * NUMBERS * np.dtype(dtype).itemsize
        median = statistics.median(self.seconds[WARM_UP:])
        print(
            f"{self.clients:>7} clients, {dtype}: {median * 1e3:.0f} ms a round (mean "
            f"{statistics.mean(self.seconds[WARM_UP:]) * 1e3:.0f}), private memory "
            f"{self.private:.0f} MB above the start, disk {disk / raw:.3f} x raw"
        )
        return median


def main() -> None:
    """Measure both sizes and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="10,000 clients")
    parser.add_argument("--dtype", choices=["float32", "float16"], default="float32")
    parser.add_argument("--folder", type=Path, help="where the files lie meanwhile")
    options = parser.parse_args()
    sizes = (1_000, 10_000 if options.quick else 100_000)
    needed = 1.05 * sum(sizes) * NUMBERS * np.dtype(options.dtype).itemsize
    with tempfile.TemporaryDirectory(dir=options.folder) as place:
        if shutil.disk_usage(place).free < needed:
            sys.exit(f"'{place}' has less than {needed / 1e9:.1f} GB; try --folder or --quick")
        sides = [Side(clients, options.dtype, Path(place) / str(clients)) for clients in sizes]
        for server_round in range(2, 2 + WARM_UP + ROUNDS):
            for side in sides:
                side.play(server_round)
        few, many = (side.report(options.dtype) for side in sides)
        for side in sides:
            side.memory.close()
    print(f"ratio {many / few:.2f}")


if __name__ == "__main__":
    main()
