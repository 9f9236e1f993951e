"""What FedStale's paper says of remembered updates, asked of this implementation on MNIST.

Rodio and Neglia, "FedStale: leveraging stale client updates in federated learning", ECAI 2024,
https://arxiv.org/abs/2405.04171. As there: MNIST, a fifth of it over 24 clients alike; a share h of
two labels' rows swapped in training and test, 0 and 1 for one half of the clients, 8 and 9 for the
other; half of the clients there in every round, the others with probability p; SGD with weight
decay 0.0005. The probabilities are known to the method.

A table of final accuracy and loss for beta = 0 (FedAvg with inverse-probability weights), 0.25,
0.5, 1 (FedVARP) and 'auto' in every (h, p), and a verdict on each finding.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from statistics import fmean

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from cells import Cell, Result, Scalar, markdown_table, mean_and_spread, run_cells
from findings import METRICS, Key, Values, findings
from small_mnist import prepare
from under_flwr import under_flwr

from models.files import write_json

HETEROGENEITY, SLOW, BETAS = (0.0, 0.4, 1.0), (0.5, 0.1), ("0", "0.25", "0.5", "1", "'auto'")
ROUNDS, EVERY, LAST = 80, 8, 8
REDUCED = f"""\
Reduced against the paper: the head (490 numbers) on a frozen ViT of about 50,000 weights,
pretrained on 1,000 other images, in place of a CNN trained from scratch; {ROUNDS} rounds in place
of 4,000; a round is 2 steps in batches of 64 with learning rate 1 in place of an epoch in batches
of 128 with 0.005, so that the noise of participation shows in so few rounds. Of the 14,000 rows
(training and test set together) each client tests on a quarter of its own."""


def cell(h: float, p: float, beta: str, seed: int) -> Cell:
    """Return one cell of the table."""
    config: dict[str, Scalar] = {
        "image-column": "image",
        "label-column": "label",
        "num-clients": 24,
        "partition": "iid",
        "partition-args": f"shift='label-swap', h={h}",
        "partition-seed": 0,
        "test-fraction": 0.25,
        # Clients 0 to 11 always, 12 to 23 rarely: each half has both kinds of swaps.
        "participation": "bernoulli",
        "participation-args": f"spread='two-groups', slow='from-12', low={p}, high=1.0",
        "strategy": "fedstale",
        "strategy-args": f"beta={beta}, probabilities='known'",
        "adapter": "head",
        "optimizer": "sgd",
        "optimizer-args": "weight-decay=0.0005",
        "learning-rate": 1.0,
        "batch-size": 64,
        "local-steps": 2,
        "num-server-rounds": ROUNDS,
        "evaluate-every": EVERY,
        "checkpoint-every": ROUNDS,
        "seed": seed,
        "device": "cpu",
        "threads": 1,
    }
    return Cell(f"h{h:g}-p{p:g}-beta-{beta.strip(chr(39))}-seed{seed}", config)


def table(values: Values, metric: str) -> str:
    """Return mean and deviation over seeds, a row for each (h, p), a column for each beta."""
    scale, digits = METRICS[metric].scale, METRICS[metric].digits
    rows = [
        [f"{h:g}", f"{p:g}"]
        + [
            mean_and_spread([fmean(run) for run in values[metric][h, p, beta]], scale, digits)
            for beta in BETAS
        ]
        for h in HETEROGENEITY
        for p in SLOW
    ]
    return markdown_table(["h", "p", *(f"beta = {beta.strip(chr(39))}" for beta in BETAS)], rows)


def difference(cell: Cell, paths: dict[str, str], kept: Result) -> float:
    """Repeat a cell under ``flwr run``; return the largest difference of any score."""
    there = under_flwr(cell, paths)
    return max(
        abs(one - other)
        for metric in METRICS
        for one, other in zip(there.known(metric), kept.known(metric), strict=True)
    )


def main() -> None:
    """Run what is missing, print tables and verdicts, write both to a file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="mnist", help="folder of train*.parquet, test*.parquet")
    parser.add_argument("--folder", type=Path, default=Path.home() / "bouquet-claims" / "fedstale")
    parser.add_argument("--quick", action="store_true", help="one seed")
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--with-flwr", action="store_true", help="repeat one cell with flwr run")
    options = parser.parse_args()
    seeds = [1] if options.quick else [int(seed) for seed in options.seeds.split(",")]
    paths = prepare(options.data, options.folder.resolve())
    keys: list[Key] = [(h, p, beta) for h in HETEROGENEITY for p in SLOW for beta in BETAS]
    cells = [cell(*key, seed) for seed in seeds for key in keys]
    results: dict[str, Result] = {}
    for done, result in run_cells(cells, options.folder, options.processes, paths):
        results[done.name] = result
        print(f"{len(results)}/{len(cells)} {done.name}: {result.seconds:.0f} s", flush=True)
    values: Values = {
        metric: {
            key: [results[cell(*key, seed).name].known(metric)[-LAST:] for seed in seeds]
            for key in keys
        }
        for metric in METRICS
    }
    names = ", ".join(map(str, seeds))
    print(f"\n{REDUCED}\n\nSeeds {names}; mean of the last {LAST} evaluations.")
    for metric, shown in METRICS.items():
        print(f"\n{shown.title}\n\n{table(values, metric)}")
    verdicts = findings(values)
    head = ["finding", *(shown.title for shown in METRICS.values())]
    print(f"\n{markdown_table(head, [(f.text, *f.verdicts.values()) for f in verdicts])}")
    summary = {
        "reduced": REDUCED,
        "seeds": seeds,
        "scores": {m: {"/".join(map(str, k)): v for k, v in s.items()} for m, s in values.items()},
        "findings": [{"text": found.text, **found.verdicts} for found in verdicts],
    }
    write_json(options.folder / "fedstale.json", summary)
    if options.with_flwr:
        one = cell(0.4, 0.1, "'auto'", seeds[0])
        largest = difference(one, paths, results[one.name])
        print(f"\n{one.name} under flwr run: largest difference of a score {largest:.1e}")
        sys.exit(largest > 1e-5)


if __name__ == "__main__":
    main()
