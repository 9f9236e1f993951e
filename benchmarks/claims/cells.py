"""The cells of a claim's table: a run each, on the in-process grid, kept as a file each.

A table that was stopped goes on where it was: a cell whose file is there is not run again. The file
is named by what the cell computes, so other settings never meet an old result; changed code does,
and then the folder has to go.
"""

from __future__ import annotations

import hashlib
import json
import logging
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import MappingProxyType

from models.files import write_json

Scalar = str | int | float | bool


@dataclass(frozen=True)
class Cell:
    """One run.

    Attributes
    ----------
    name : str
        For people; goes into the file's name.
    config : mapping
        The run-config, without paths and names.
    nodes : int
        Nodes that host the clients. What is sent to a node and not to a client, such as a change
        of the base, counts once a node.
    """

    name: str
    config: Mapping[str, Scalar]
    nodes: int = 1

    @property
    def file(self) -> str:
        """Name of the file that keeps the result."""
        own = [self.nodes] if self.nodes > 1 else []
        text = json.dumps([self.name, sorted(self.config.items()), *own])
        return f"{self.name}-{hashlib.sha256(text.encode()).hexdigest()[:10]}.json"


@dataclass(frozen=True)
class Result:
    """What one run came to.

    Attributes
    ----------
    curve : tuple of mapping
        The numbers of every round, in order: ``round``, ``bytes_up``, and where they are known
        ``client_accuracy_mean``, ``aggregation_error``, ``es_auc by sex``, ...
    seconds : float
        Of the whole run.
    """

    curve: tuple[Mapping[str, float], ...]
    seconds: float

    def last(self, metric: str, evaluations: int) -> float:
        """Return the mean of a score over the last rounds that know it."""
        return statistics.fmean(self.known(metric)[-evaluations:])

    def known(self, metric: str) -> list[float]:
        """Return a number's values, of the rounds that know it."""
        return [point[metric] for point in self.curve if metric in point]


def read_curve(run_directory: Path) -> tuple[Mapping[str, float], ...]:
    """Return the numbers of every round that a run directory holds, the method's own in total."""
    lines = (run_directory / "metrics.jsonl").read_text().splitlines()
    return tuple(
        {
            key: value
            for key, value in {**point, **point.get("method", {}), **_by_group(point)}.items()
            if isinstance(value, int | float) and "/" not in key
        }
        for point in map(json.loads, lines)
    )


def _by_group(point: Mapping[str, dict[str, dict[str, float]]]) -> dict[str, float]:
    """Return the figures of fairness, each with the column that says the groups."""
    return {
        f"{figure} by {column}": value
        for column, figures in point.get("fairness", {}).items()
        for figure, value in figures.items()
    }


def run_cells(
    cells: Iterable[Cell],
    folder: Path,
    processes: int = 2,
    paths: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[tuple[Cell, Result]]:
    """Run the cells that are not there yet, so many at a time, and yield all as they are done.

    Parameters
    ----------
    cells : iterable of Cell
    folder : Path
        Where results are kept.
    processes : int
        One thread each.
    paths : mapping
        Settings that say where data and base lie: the same for all cells, and no part of a name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    missing = []
    for cell in cells:
        file = folder / cell.file
        if file.is_file():
            kept = json.loads(file.read_text())
            yield cell, Result(tuple(kept["curve"]), kept["seconds"])
        else:
            missing.append(cell)
    # A process inherits the number of threads that OpenMP may use only through its environment.
    os.environ["OMP_NUM_THREADS"] = "1"
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, spawn) as pool:
        running = {pool.submit(run_cell, cell, folder, dict(paths)): cell for cell in missing}
        for done in as_completed(running):
            yield running[done], done.result()


def run_cell(cell: Cell, folder: Path, paths: Mapping[str, str]) -> Result:
    """Run one cell in this process and keep its result."""
    from flwr.supercore import log

    log.__self__.setLevel(logging.WARNING)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        own = {"out-dir": scratch, "run-name": "cell", "state-dir": str(folder / "state")}
        run_rounds({**cell.config, **paths, **own}, cell.nodes)
        curve = read_curve(Path(scratch) / "cell")
    result = Result(curve, time.perf_counter() - began)
    kept = {"config": dict(cell.config), "curve": list(curve), "seconds": round(result.seconds, 1)}
    write_json(folder / cell.file, kept)
    return result


def run_rounds(config: Mapping[str, Scalar], nodes: int) -> None:
    """Run what a run-config asks for in this process, without report and export."""
    from app.client_app import app
    from app.registry import registry
    from app.run_directory import Results, RunDirectory
    from app.run_directory.checkpoint import Checkpoints
    from app.server.federation import open_federation
    from app.server.training import train_rounds
    from app.settings import parse_run_config
    from fedbouquet.testing import LocalGrid

    settings = parse_run_config(config, registry()).named(datetime.now())
    directory = RunDirectory(settings.run_dir)
    places = [{"partition-id": place, "num-partitions": nodes} for place in range(nodes)]
    grid = LocalGrid(app, places, config)
    with directory.opened(settings):
        federation = open_federation(grid, settings)
        strategy = registry().compose(settings.methods, settings.method_options)
        # Without checkpoints a run is a baseline, which waits for everybody.
        checkpoints = Checkpoints(directory.path / "checkpoints", directory.uid, 1)
        results = Results(directory.path)
        train_rounds(federation, settings, strategy, results, directory, checkpoints)


def spread(values: Sequence[float]) -> float:
    """Return the standard deviation over seeds; 0 for a single one, which has none."""
    return statistics.stdev(values) if len(values) > 1 else 0.0


def mean_and_spread(values: Sequence[float], scale: float = 1.0, digits: int = 1) -> str:
    """Return "mean ± standard deviation", without the latter for a single value."""
    mean = f"{scale * statistics.fmean(values):.{digits}f}"
    return f"{mean} ± {scale * spread(values):.{digits}f}" if len(values) > 1 else mean


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
