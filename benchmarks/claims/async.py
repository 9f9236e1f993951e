"""Virtual time to a target accuracy, by what closes a round and how updates are weighted.

    python benchmarks/claims/async.py --data FOLDER            # three seeds
    python benchmarks/claims/async.py --data FOLDER --quick    # one seed

FOLDER holds MNIST: ``train*.parquet`` and ``test*.parquet`` with the columns ``image`` and
``label``. 100 clients, all of them training all the time, on devices whose speeds follow a Pareto
distribution; labels divided by a Dirichlet partition; speed independent of the labels, or tied to
them: clients of the first labels are fast, those of the last slow. A run that is stopped goes on
where it was.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from async_cells import ALPHAS, METHODS, TIES, cell_of, prepared
from cells import Result, markdown_table, mean_and_spread, run_cells

SCORE, TARGET = "client_accuracy_mean", 0.87
HEAD = (
    "method", f"seconds to {TARGET:.0%}", "times as fast as synchronous", "accuracy at the end, %",
    "worst decile at the end, %", "seconds in all", "updates",
)  # fmt: skip


def seconds_to(result: Result, target: float) -> float | None:
    """Return the virtual second of the first evaluation at or above a score; None if there is none.

    The score has to hold: the mean with the next evaluation is at least the target too.
    """
    points = [(p["virtual_seconds"], p[SCORE]) for p in result.curve if SCORE in p and p["round"]]
    for i, (second, score) in enumerate(points):
        after = points[min(i + 1, len(points) - 1)][1]
        if score >= target and (score + after) / 2 >= target:
            return second
    return None


def reached(results: Sequence[Result], target: float) -> str:
    """Return mean and spread of the seconds, or in how many seeds it was reached at all."""
    seconds = [seconds_to(result, target) for result in results]
    known = [s for s in seconds if s is not None]
    if len(known) < len(seconds):
        return f"not reached ({len(known)} of {len(seconds)})"
    return mean_and_spread(known, digits=1)


def gain(own: Sequence[Result], other: Sequence[Result], target: float) -> str:
    """Return how many times as fast as another method, seed by seed."""
    pairs = [
        (seconds_to(a, target), seconds_to(b, target)) for a, b in zip(own, other, strict=False)
    ]
    known = [b / a for a, b in pairs if a and b]
    return mean_and_spread(known) if known and len(known) == len(pairs) else "-"


def row_of(method: str, results: Mapping[str, Sequence[Result]]) -> list[str]:
    """Return a method's line."""
    own = results[method]
    worst = "client_accuracy_worst_decile"
    updates = [sum(r.known("clients_answered")) for r in own]
    return [
        method,
        reached(own, TARGET),
        gain(own, results.get("synchronous", ()), TARGET),
        mean_and_spread([r.last(SCORE, 3) for r in own], 100),
        mean_and_spread([r.last(worst, 3) for r in own], 100),
        mean_and_spread([r.known("virtual_seconds")[-1] for r in own], digits=0),
        f"{statistics.fmean(updates):.0f}",
    ]


def main() -> None:
    """Run what is missing and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="folder of train*.parquet, test*.parquet")
    parser.add_argument("--quick", action="store_true", help="one seed")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=[*METHODS])
    parser.add_argument("--results", type=Path, default=Path("claims-async"))
    parser.add_argument("--processes", type=int, default=2, help="cells at a time")
    given = parser.parse_args()
    seeds = given.seeds[:1] if given.quick else given.seeds
    folder = given.results.absolute()
    paths = prepared(given.data, folder)
    keys = {
        cell_of(method, alpha, tied, seed).name: (method, alpha, tied, seed)
        for seed in seeds
        for alpha in ALPHAS
        for tied in TIES
        for method in given.methods
    }
    found: dict[tuple[float, str], dict[str, dict[int, Result]]] = {}
    cells = [cell_of(*key) for key in keys.values()]
    for cell, result in run_cells(cells, folder, given.processes, paths):
        method, alpha, tied, seed = keys[cell.name]
        found.setdefault((alpha, tied), {}).setdefault(method, {})[seed] = result
        print(f"{cell.name}: {result.seconds:.0f} s", flush=True)
    for alpha in ALPHAS:
        for tied in TIES:
            by_method = found[alpha, tied]
            results = {m: [by_method[m][s] for s in seeds] for m in METHODS if m in by_method}
            speeds = "independent of the labels" if tied == "none" else "tied to the labels"
            rows = [row_of(method, results) for method in results]
            print(f"\nDirichlet {alpha:g}, speeds {speeds}\n\n{markdown_table(HEAD, rows)}")


if __name__ == "__main__":
    main()
