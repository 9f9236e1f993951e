"""What the papers on clusters and personalisation say, asked of this implementation.

    python benchmarks/claims/clusters.py --data FOLDER            # three seeds
    python benchmarks/claims/clusters.py --data FOLDER --quick    # one seed
    python benchmarks/claims/clusters.py --data FOLDER --with-flwr

FOLDER holds ``mnist``, ``cifar10`` and ``ag_news``, each with ``train.parquet`` and
``test.parquet`` (columns ``image`` or ``text``, and ``label``). A table for each experiment of
`cluster_cells`: accuracy over the clients at the end (and for drift over all evaluations), purity
of the clusters where the truth is known, bytes. A run that is stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from cells import Result, markdown_table, mean_and_spread, run_cells
from cluster_cells import EXPERIMENTS, Experiment, cell_of, prepared
from under_flwr import compare

HEAD = (
    "method", "clients' mean, %", "worst decile, %", "mean over the run, %", "clusters", "purity",
    "to the reference, points", "MB moved",
)  # fmt: skip

Results = Mapping[str, Sequence[Result]]
"""By method, a result for each seed, in the order of the seeds."""


def row_of(method: str, results: Results, reference: str) -> list[str]:
    """Return a method's line of a table."""

    def last(metric: str, scale: float = 1.0, digits: int = 1) -> str:
        values = [r.last(metric, 1) for r in results[method] if r.known(metric)]
        return mean_and_spread(values, scale, digits) if values else "-"

    def moved(result: Result) -> float:
        return sum(result.known("bytes_up")) + sum(result.known("bytes_down"))

    # Round 0 is before any training.
    over = [statistics.fmean(r.known("client_accuracy_mean")[1:]) for r in results[method]]
    gaps = [
        own.last("client_accuracy_mean", 1) - other.last("client_accuracy_mean", 1)
        for own, other in zip(results[method], results.get(reference, ()), strict=False)
    ]
    return [
        method,
        last("client_accuracy_mean", 100),
        last("client_accuracy_worst_decile", 100),
        mean_and_spread(over, 100),
        last("clusters"),
        last("cluster_purity", digits=2),
        mean_and_spread(gaps, 100) if gaps and method != reference else "-",
        f"{statistics.fmean(map(moved, results[method])) / 1e6:.1f}",
    ]


def table(experiment: Experiment, results: Results) -> str:
    """Return the methods that have results, in the experiment's order."""
    rows = [row_of(m, results, experiment.reference) for m in experiment.methods if m in results]
    return f"{experiment.title}\n\n{experiment.about}.\n\n{markdown_table(HEAD, rows)}"


def main() -> None:
    """Run what is missing and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the three data sets")
    parser.add_argument("--quick", action="store_true", help="one seed")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--experiments", nargs="+", choices=EXPERIMENTS, default=[*EXPERIMENTS])
    parser.add_argument("--results", type=Path, default=Path("claims-clusters"))
    parser.add_argument("--processes", type=int, default=2, help="cells at a time")
    parser.add_argument("--with-flwr", action="store_true", help="repeat one cell under flwr run")
    given = parser.parse_args()
    seeds = [1] if given.quick else given.seeds
    folder = given.results.absolute()
    for name in given.experiments:
        experiment = EXPERIMENTS[name]
        paths = prepared(experiment, given.data, folder)
        # Seed by seed: a table that is stopped early has all methods.
        cells = {
            cell_of(name, method, seed).name: (method, seed, cell_of(name, method, seed))
            for seed in seeds
            for method in experiment.methods
        }
        found: dict[str, dict[int, Result]] = {}
        for cell, result in run_cells(
            [c for *_, c in cells.values()], folder, given.processes, paths
        ):
            method, seed, _ = cells[cell.name]
            found.setdefault(method, {})[seed] = result
            print(f"{cell.name}: {result.seconds:.0f} s", flush=True)
        results = {m: [by_seed[s] for s in sorted(by_seed)] for m, by_seed in found.items()}
        print(f"\n{table(experiment, results)}\n", flush=True)
        if given.with_flwr:
            method, seed, cell = next(iter(cells.values()))
            compare(cell, paths, found[method][seed], ("client_accuracy_mean", "client_loss_mean"))


if __name__ == "__main__":
    main()
