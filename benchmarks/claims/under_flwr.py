"""One cell of a claim's table again, under ``flwr run``: the same numbers have to come out."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from cells import Cell, Result, Scalar, read_curve
from workload import ROOT, Flower


def under_flwr(cell: Cell, paths: Mapping[str, str]) -> Result:
    """Run a cell with ``flwr run`` on a SuperLink of its own, which is ended afterwards."""
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        flower = Flower(scratch / "flwr")
        own: dict[str, Scalar] = {
            "out-dir": name,
            "run-name": "cell",
            "state-dir": str(scratch / "state"),
        }
        try:
            flower.run(ROOT, {**cell.config, **paths, **own}, cell.nodes, os.cpu_count() or 1)
        finally:
            flower.stop()
        return Result(read_curve(scratch / "cell"), 0.0)


def compare(cell: Cell, paths: Mapping[str, str], here: Result, metrics: Iterable[str]) -> None:
    """Repeat a cell with ``flwr run`` and print both ends."""
    there = under_flwr(cell, paths)
    for metric in metrics:
        one, other = here.last(metric, 1), there.last(metric, 1)
        print(f"{cell.name}, {metric}: here {one:.6f}, flwr run {other:.6f}")
