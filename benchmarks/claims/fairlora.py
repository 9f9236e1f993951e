"""FairLoRA's claim, asked on Adult: a higher equity-scaled AUC at no loss of AUC.

    python benchmarks/claims/fairlora.py --data FOLDER            # three seeds
    python benchmarks/claims/fairlora.py --data FOLDER --quick    # one seed, fewer texts
    python benchmarks/claims/fairlora.py --data FOLDER --with-flwr

FOLDER holds Adult (Becker and Kohavi, 1996, https://doi.org/10.24432/C5XW20) as ``train.parquet``
and ``test.parquet`` with its columns and ``label``, 1 for an income above 50,000. Five sites with
other shares of sex and race each; income from the record as a table and as a text. FairLoRA and the
methods beside it have the same rank, rounds and learning rate. Figures are over all sites' test
parts. A run that is stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from cells import Result, markdown_table, mean_and_spread, run_cells, spread
from fairness_cells import GROUPS, METHODS, Experiment, cell_of, experiments, prepared
from under_flwr import compare

Results = Mapping[str, Sequence[Result]]
"""By method, a result for each seed, in the order of the seeds."""

FIGURES = {
    "ES-AUC": "es_auc",
    "DPD": "demographic_parity_difference",
    "EOD": "equalized_odds_difference",
}
REFERENCE = "FedAvg"


def row_of(method: str, results: Results) -> list[str]:
    """Return a method's line of a table, in points of 100."""

    def points(metric: str) -> str:
        values = [r.last(metric, 1) for r in results[method] if r.known(metric)]
        return mean_and_spread(values, 100) + _of(values, results[method]) if values else "-"

    by_group = [points(f"{key} by {group}") for group in GROUPS for key in FIGURES.values()]
    return [method, points("client_accuracy_mean"), points(f"auc by {GROUPS[0]}"), *by_group]


def _of(values: Sequence[float], seeds: Sequence[Result]) -> str:
    """Say in how many seeds a figure is defined, where it is not in all of them."""
    return "" if len(values) == len(seeds) else f" ({len(values)} of {len(seeds)})"


def verdict(group: str, results: Results) -> list[str]:
    """Say what became of the claim for one grouping, from differences seed by seed."""

    def gain(metric: str) -> list[float]:
        pairs = zip(results[f"FairLoRA by {group}"], results[REFERENCE], strict=False)
        known = [(a, b) for a, b in pairs if a.known(metric) and b.known(metric)]
        return [100 * (a.last(metric, 1) - b.last(metric, 1)) for a, b in known]

    fair, whole = gain(f"es_auc by {group}"), gain(f"auc by {group}")
    if not fair:
        return [f"by {group}", "-", "-", "not known"]
    if len(fair) == 1:
        return [f"by {group}", f"{fair[0]:.2f}", f"{whole[0]:.2f}", "one seed says too little"]
    better = statistics.fmean(fair) > spread(fair)
    worse = statistics.fmean(whole) < -spread(whole)
    said = "yes" if better and not worse else "ES-AUC only" if better else "no"
    known = mean_and_spread(fair, digits=2) + _of(fair, results[REFERENCE])
    return [f"by {group}", known, mean_and_spread(whole, digits=2), said]


def table(experiment: Experiment, results: Results) -> str:
    """Return the methods that have results, and what became of the claim."""
    head = ["method", "accuracy", "AUC", *(f"{f}, {g}" for g in GROUPS for f in FIGURES)]
    rows = [row_of(method, results) for method in METHODS if method in results]
    claims = [
        verdict(group, results)
        for group in GROUPS
        if {REFERENCE, f"FairLoRA by {group}"} <= results.keys()
    ]
    gains = markdown_table(
        ["FairLoRA", f"ES-AUC above {REFERENCE}", f"AUC above {REFERENCE}", "as claimed"], claims
    )
    return f"{experiment.title}: {experiment.about}.\n\n{markdown_table(head, rows)}\n\n{gains}"


def main() -> None:
    """Run what is missing and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of Adult")
    parser.add_argument("--quick", action="store_true", help="one seed, fewer texts")
    parser.add_argument("--seeds", type=int, nargs="+", help="instead of the budget's own")
    parser.add_argument("--experiments", nargs="+", choices=experiments(False))
    parser.add_argument("--results", type=Path, default=Path("claims-fairlora"))
    parser.add_argument("--processes", type=int, default=2, help="cells at a time")
    parser.add_argument("--with-flwr", action="store_true", help="repeat one cell under flwr run")
    given = parser.parse_args()
    seeds = given.seeds or ([1] if given.quick else [1, 2, 3])
    folder = given.results.absolute()
    for name, experiment in experiments(given.quick).items():
        if given.experiments and name not in given.experiments:
            continue
        paths = prepared(name, experiment, given.data, folder)
        # Seed by seed: a table that is stopped early has all methods.
        keys = [(method, seed) for seed in seeds for method in METHODS]
        cells = [cell_of(name, experiment, method, seed) for method, seed in keys]
        by_name = {cell.name: key for cell, key in zip(cells, keys, strict=True)}
        found: dict[str, dict[int, Result]] = {}
        for cell, result in run_cells(cells, folder, given.processes, paths):
            method, seed = by_name[cell.name]
            found.setdefault(method, {})[seed] = result
            print(f"{cell.name}: {result.seconds:.0f} s", file=sys.stderr, flush=True)
        results = {m: [by_seed[s] for s in sorted(by_seed)] for m, by_seed in found.items()}
        print(f"\n{table(experiment, results)}\n", flush=True)
        if given.with_flwr:
            method, seed = keys[0]
            compare(cells[0], paths, found[method][seed], ("client_accuracy_mean", "es_auc by sex"))


if __name__ == "__main__":
    main()
