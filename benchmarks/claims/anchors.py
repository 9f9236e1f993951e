"""What the papers on anchors and prototypes say, asked of this implementation.

    python benchmarks/claims/anchors.py --data FOLDER            # three seeds
    python benchmarks/claims/anchors.py --data FOLDER --quick    # a seed of a smaller budget
    python benchmarks/claims/anchors.py --data FOLDER --quick --seeds 1 2 3
    python benchmarks/claims/anchors.py --data FOLDER --with-flwr

FOLDER holds ``mnist`` and ``cifar10``, each with ``train.parquet`` and ``test.parquet`` (columns
``image`` and ``label``; ``mnist`` also ``client``, HtFLlib's own division over 20 clients). Four
tables: each data set with one model for all clients and with three. Accuracy is the mean over the
clients, on test parts of their own, by the nearest prototype and by the head. A run that is stopped
goes on where it was.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from anchor_cells import FULL, QUICK, cell_of, experiments
from cells import Cell, Result, markdown_table, mean_and_spread, run_cells
from cluster_cells import Experiment, prepared
from under_flwr import compare

HEAD = (
    "method", "prototype, last", "prototype, best", "head, last", "head, best",
    "over local, points", "bytes up", "bytes down",
)  # fmt: skip
SCORE, BY_HEAD = "client_accuracy_mean", "accuracy_head"

Results = Mapping[str, Sequence[Result]]
"""By method, a result for each seed, in the order of the seeds."""


def by_prototype(result: Result) -> list[float]:
    """Return the accuracies of the nearest prototype; empty for methods that have none."""
    return result.known(SCORE)[1:] if result.known(BY_HEAD) else []


def by_head(result: Result) -> list[float]:
    """Return the accuracies of the head after the first training."""
    return result.known(BY_HEAD) or result.known(SCORE)[1:]


def own(result: Result) -> list[float]:
    """Return the accuracies of the rule that the method's paper takes."""
    return result.known(SCORE)[1:]


def row_of(method: str, results: Results, reference: str, clients: int) -> list[str]:
    """Return a method's line of a table."""
    found = results[method]

    def scores(rule: Callable[[Result], list[float]], of: Callable[[list[float]], float]) -> str:
        values = [of(rule(result)) for result in found if rule(result)]
        return mean_and_spread(values, 100) if values else "-"

    def each(metric: str) -> str:
        """Return the bytes of a client and round."""
        return f"{statistics.fmean(r.known(metric)[-1] for r in found) / clients:,.0f}"

    def last(accuracies: list[float]) -> float:
        return accuracies[-1]

    pairs = zip(found, results.get(reference, ()), strict=False)
    gaps = [last(own(result)) - last(own(other)) for result, other in pairs]
    return [
        method,
        scores(by_prototype, last),
        scores(by_prototype, max),
        scores(by_head, last),
        scores(by_head, max),
        mean_and_spread(gaps, 100) if gaps and method != reference else "-",
        each("bytes_up"),
        each("bytes_down"),
    ]


def table(experiment: Experiment, results: Results) -> str:
    """Return the methods that have results, in the experiment's order."""
    clients = int(experiment.settings["num-clients"])
    rows = [
        row_of(method, results, experiment.reference, clients)
        for method in experiment.methods
        if method in results
    ]
    return f"{experiment.title}\n\n{experiment.about}.\n\n{markdown_table(HEAD, rows)}"


def main() -> None:
    """Run what is missing and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the two data sets")
    parser.add_argument("--quick", action="store_true", help="fewer rows and rounds, one seed")
    parser.add_argument("--seeds", type=int, nargs="+", help="instead of 1 2 3, or 1 with --quick")
    parser.add_argument("--results", type=Path, default=Path("claims-anchors"))
    parser.add_argument("--processes", type=int, default=2, help="cells at a time")
    parser.add_argument("--with-flwr", action="store_true", help="repeat one cell under flwr run")
    given = parser.parse_args()
    planned = experiments(QUICK if given.quick else FULL)
    seeds = given.seeds or ([1] if given.quick else [1, 2, 3])
    folder = given.results.absolute()
    found: dict[str, dict[str, list[Result]]] = {name: {} for name in planned}
    # Seed by seed: what is stopped early has all methods of all tables.
    for seed in seeds:
        for name, experiment in planned.items():
            paths = prepared(experiment, given.data, folder)
            cells = {m: cell_of(name, experiment, m, seed) for m in experiment.methods}
            methods = {cell.name: method for method, cell in cells.items()}
            for cell, result in run_cells(cells.values(), folder, given.processes, paths):
                found[name].setdefault(methods[cell.name], []).append(result)
                print(f"{cell.name}: {result.seconds:.0f} s", file=sys.stderr, flush=True)
    for name, experiment in planned.items():
        print(f"{table(experiment, found[name])}\n", flush=True)
    if given.with_flwr:
        name, experiment = next(iter(planned.items()))
        cell: Cell = cell_of(name, experiment, "fedsa", seeds[0])
        kept = found[name]["fedsa"][0]
        compare(cell, prepared(experiment, given.data, folder), kept, (SCORE, BY_HEAD))


if __name__ == "__main__":
    main()
