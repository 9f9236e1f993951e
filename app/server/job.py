"""One run, from settings to report."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from logging import INFO, WARNING
from pathlib import Path

from flwr.serverapp import Grid
from flwr.supercore import log
from flwr.supercore.exit import add_exit_handler
from rich.console import Console

from app.built_in import BASELINES
from app.doctor.rehearsal import write_rehearsal
from app.registry import registry
from app.run_directory import Results, RunDirectory
from app.run_directory.checkpoint import Checkpoints
from app.run_directory.export import export_adapter, export_artifacts
from app.server.federation import Federation, open_federation
from app.server.lending import lend_training
from app.server.link import connected
from app.server.samples import write_samples
from app.server.training import train_rounds
from app.settings import Settings, parse_run_config
from app.settings.groups import unknown_groups
from app.trackers.names import check_installed
from app.trackers.tracker import Ending, TrackedRun
from app.trackers.tracking import Tracking
from models.errors import BouquetError, ConfigurationError
from models.records import wire_bytes
from strategies.base import Strategy
from strategies.pooled import Pooled


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
    settings = parse_run_config(run_config, registry()).named(datetime.now())
    directory = RunDirectory(settings.run_dir)
    with directory.opened(settings):
        log(INFO, "Run directory: %s", directory.path)
        tracking = Tracking(settings.trackers, _tracked(settings, directory))
        # Off the main thread, where simulation runs us, Flower's exit handlers are the way.
        add_exit_handler(partial(_stopped, directory, tracking), run_before_force_exit=True)
        try:
            for broken in registry().broken:
                log(WARNING, "%s", broken)
            check_installed(settings.trackers)
            with connected(grid):
                _run(grid, settings, directory, tracking)
        except BaseException as error:
            directory.failed(error)
            tracking.end(Ending("failed"))
            if isinstance(error, BouquetError):
                log(INFO, "Run failed: %s", error)
            raise
    log(INFO, "Run directory: %s", directory.path)
    return directory.path


def _stopped(directory: RunDirectory, tracking: Tracking) -> None:
    directory.stopped()
    tracking.end(Ending("stopped"))


def _tracked(settings: Settings, directory: RunDirectory) -> TrackedRun:
    tags = {"method": settings.strategy, "data": settings.dataset}
    folder = directory.path
    return TrackedRun(folder, directory.uid, folder.name, settings.to_flat(), tags)


def _run(grid: Grid, settings: Settings, directory: RunDirectory, tracking: Tracking) -> None:
    federation = open_federation(grid, settings)
    directory.write_labels(federation.plan.labels, federation.roster, federation.own_data)
    if "global" in settings.baselines:
        federation.add_pooled_client()
    strategy = registry().compose(settings.methods, settings.method_options)
    _check_ranks(federation, strategy)
    _check_models(federation, strategy)
    directory.write_models(
        (federation.plan.model, federation.plan.base),
        wire_bytes(federation.initial, settings.wire_dtype) if federation.model else None,
        federation.roster,
    )
    _check_features(settings, strategy)
    lend_training(federation, settings, strategy)
    if settings.rehearsal:
        write_rehearsal(directory.path, federation)
        directory.status("finished", 0, "a rehearsal: nothing was trained")
        return
    log(INFO, "%d clients; %s", len(federation.roster), strategy.describe())
    for line in unknown_groups(settings, {c.id: c.groups for c in federation.roster}):
        log(WARNING, "%s", line)
    checkpoints = Checkpoints(
        directory.path / "checkpoints",
        directory.uid,
        settings.checkpoint_keep,
        federation.initial.schema.hash,
    )
    _write_drift(federation, settings, directory)
    results = Results(directory.path)
    last = train_rounds(federation, settings, strategy, results, directory, checkpoints, tracking)
    export_adapter(directory, federation, settings, strategy, last)
    export_artifacts(directory, strategy)
    write_samples(directory, federation, strategy)
    for name in settings.baselines:
        log(INFO, "Baseline: %s", name)
        other = Results(directory.path / "baselines" / name)
        train_rounds(federation, settings, _baseline(name, settings), other, directory)
    _write_drift(federation, settings, directory)  # with those who came later
    from app.report import write_report
    from app.report.gain_columns import add_gains
    from app.report.summary import print_summary, summary_text

    add_gains(directory.path, settings.baselines)
    directory.status("finished", 0, "")  # report and table tell how the run ended
    report = write_report(directory.path)
    print_summary(directory.path, Console(width=120))
    log(INFO, "Report: %s", report)
    adapter = directory.path / "adapter"
    tracking.end(
        Ending(
            "finished",
            table=summary_text(directory.path),
            adapter=str(adapter) if adapter.exists() else "",
        )
    )


def _write_drift(federation: Federation, settings: Settings, directory: RunDirectory) -> None:
    if federation.drift is not None:
        clients = [client for client in federation.roster.ids if not client.startswith("@")]
        directory.write_drift(federation.drift.table(clients, settings.num_server_rounds))


def _check_ranks(federation: Federation, strategy: Strategy) -> None:
    """Refuse ranks of the clients' own where the method needs one for all."""
    own = federation.initial.schema.facts.get("rank")
    other = [c for c in federation.roster if c.rank is not None and c.rank != own]
    if other and not strategy.takes_ranks:
        raise ConfigurationError(
            f"strategy: {strategy.describe()} needs one rank for all clients, and '{other[0].id}' "
            f"has {other[0].rank} (the adapter's is {own}); take hetlora, flexlora or flora, or "
            "leave out rank-args and the nodes' rank"
        )


def _check_models(federation: Federation, strategy: Strategy) -> None:
    """Refuse base models of the clients' own where the method averages whole adapters."""
    there = federation.roster.reachable  # a node that was refused for it is told so by itself
    other = [c for c in federation.roster if c.variant and c.id in there]
    if other and not strategy.takes_models:
        raise ConfigurationError(
            f"strategy: {strategy.describe()} averages whole adapters, and '{other[0].id}' has "
            f"another base model ({other[0].variant}) than the run ({federation.plan.model}); "
            f"take {', '.join(registry().mixing())}, or leave out the variants of model-args "
            "and the nodes' model"
        )


def _check_features(settings: Settings, strategy: Strategy) -> None:
    """Refuse a layer before the head where the adapter is to be loaded without it."""
    if settings.model_options.get("feature-dim") and strategy.serves_all:
        raise ConfigurationError(
            f"model-args: feature-dim puts a layer before the head, and the adapter that "
            f"{strategy.describe()} gives could not be loaded onto the base; leave it out, or let "
            "the head stay with the clients, as in 'fedsa' or 'fedsa > fedper'"
        )


def _baseline(name: str, settings: Settings) -> Strategy:
    kind = BASELINES[name]
    if issubclass(kind, Pooled):
        return kind(
            batch_size=settings.batch_size,
            local_epochs=settings.local_epochs,
            local_steps=settings.local_steps,
        )
    return kind()
