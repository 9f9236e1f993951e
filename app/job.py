"""One run, from settings to report."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from logging import INFO
from pathlib import Path

from flwr.serverapp import Grid
from flwr.supercore import log
from rich.console import Console

from app.export import export_adapter
from app.federation import Federation, open_federation
from app.registry import BASELINES, registry
from app.run_directory import Results, RunDirectory
from app.settings import Settings, parse_run_config
from models.errors import BouquetError
from strategies.base import Strategy
from strategies.pooled import Pooled
from strategies.rounds.loop import LoopOptions, RoundLoop
from strategies.rounds.record import Ledger, RoundRecord
from strategies.transport.exchange import Rejection

_PROGRESS_EVERY = 0.2


def run_job(grid: Grid, run_config: Mapping[str, object]) -> Path:
    """Run what the configuration asks for.

    Returns
    -------
    Path
        The run directory.

    Raises
    ------
    BouquetError
        Anything that ends the run; ``status.json`` says the same.
    """
    settings = parse_run_config(run_config, registry())
    directory = RunDirectory(settings.out_dir / (settings.run_name or make_run_name(settings)))
    directory.create(settings)
    log(INFO, "Run directory: %s", directory.path)
    try:
        _run(grid, settings, directory)
    except BaseException as error:
        directory.failed(error)
        if isinstance(error, BouquetError):
            log(INFO, "Run failed: %s", error)
        raise
    log(INFO, "Run directory: %s", directory.path)
    return directory.path


def make_run_name(settings: Settings) -> str:
    """Return a name from the methods, the data set and the time."""
    data = Path(settings.dataset).name.replace(":", "-") or "data"
    return f"{'-'.join(settings.methods)}-{data}-{datetime.now():%Y%m%d-%H%M%S}"


def _run(grid: Grid, settings: Settings, directory: RunDirectory) -> None:
    federation = open_federation(grid, settings)
    directory.write_labels(federation.plan.labels, federation.roster)
    if "global" in settings.baselines:
        federation.add_pooled_client()
    strategy = registry().compose(settings.methods, settings.method_options)
    log(INFO, "%d clients; %s", len(federation.roster), strategy.describe())
    results = Results(directory.path)
    last = _train(federation, settings, strategy, results, directory)
    export_adapter(directory, federation, settings, strategy, last)
    for name in settings.baselines:
        log(INFO, "Baseline: %s", name)
        other = Results(directory.path / "baselines" / name)
        _train(federation, settings, _baseline(name, settings), other, directory)
    from app.report import write_report
    from app.report.summary import print_summary

    directory.status("finished", 0, "")  # report and table tell how the run ended
    report = write_report(directory.path)
    print_summary(directory.path, Console(width=120))
    log(INFO, "Report: %s", report)


def _baseline(name: str, settings: Settings) -> Strategy:
    kind = BASELINES[name]
    if issubclass(kind, Pooled):
        return kind(
            batch_size=settings.batch_size,
            local_epochs=settings.local_epochs,
            local_steps=settings.local_steps,
        )
    return kind()


def _train(
    federation: Federation,
    settings: Settings,
    strategy: Strategy,
    results: Results,
    directory: RunDirectory,
) -> RoundRecord:
    options = LoopOptions(
        num_rounds=settings.num_server_rounds,
        clients_per_round=settings.clients_per_round,
        seed=settings.seed,
        quorum=settings.quorum,
        round_timeout=settings.round_timeout,
        evaluate_every=settings.evaluate_every,
    )
    loop = RoundLoop(
        strategy,
        federation.grid,
        options,
        evaluate_server=(lambda _, arrays: federation.evaluate(arrays))
        if strategy.has_global_model
        else None,
        progress=_Progress(directory, settings.num_server_rounds),
    )
    began = time.monotonic()
    loop.start(federation.initial)
    last = RoundRecord(0)
    told: set[str] = set()
    for record in loop.rounds():
        last = _with_refused(record, federation, loop.ledger, told)
        results.add(last)
        results.clients(federation.roster, loop.ledger)
        log(INFO, "%s", round_line(last, settings.num_server_rounds, time.monotonic() - began))
    return last


def _with_refused(
    record: RoundRecord, federation: Federation, ledger: Ledger, told: set[str]
) -> RoundRecord:
    """Add those who were refused as a whole since the last round, so that nobody just vanishes."""
    fresh = [who for who in federation.refused if who not in told]
    told.update(fresh)
    lost = [Rejection(who, record.round, "refused", federation.refused[who][:200]) for who in fresh]
    for rejection in lost:
        if rejection.client in federation.roster:
            ledger.refused(rejection)
    return replace(record, rejected=(*record.rejected, *lost)) if lost else record


class _Progress:
    """Writes the round's progress, at most five times a second."""

    def __init__(self, directory: RunDirectory, rounds: int) -> None:
        self._directory = directory
        self._rounds = rounds
        self._written = 0.0

    def __call__(self, server_round: int, action: str, done: int, asked: int) -> None:
        now = time.monotonic()
        if done == asked or now - self._written > _PROGRESS_EVERY:
            self._written = now
            self._directory.progress(server_round, self._rounds, action, done, asked)


def round_line(record: RoundRecord, rounds: int, elapsed: float) -> str:
    """Return one line for the log: who answered, loss, accuracy, time left."""
    parts = [f"round {record.round}/{rounds}"]
    if record.round:
        parts.append(f"clients {record.clients_answered}/{record.clients_asked}")
    if record.train_loss is not None:
        parts.append(f"train loss {record.train_loss:.4f}")
    server, clients = record.server_metrics, record.client_metrics
    if "loss" in server:
        parts.append(f"loss {server['loss']:.4f}")
    if "accuracy" in server:
        parts.append(f"accuracy {server['accuracy']:.4f}")
    if "client_accuracy_mean" in clients:
        worst = clients["client_accuracy_worst_decile"]
        parts.append(f"clients' accuracy {clients['client_accuracy_mean']:.4f} (worst {worst:.4f})")
    if record.rejected:
        parts.append(f"rejected {len(record.rejected)}")
    if 0 < record.round < rounds:
        left = elapsed / record.round * (rounds - record.round)
        parts.append(f"{record.seconds:.1f} s, about {left:.0f} s left")
    else:
        parts.append(f"{record.seconds:.1f} s")
    return " | ".join(parts)
