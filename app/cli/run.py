"""``bouquet run``: one federated run from settings to exit code."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from rich.console import Console

from app.cli.display import Display, choose_display
from app.cli.launch import (
    INTERRUPTED,
    FlowerProcess,
    Outcome,
    ended_like_ctrl_c,
    is_final,
    judge,
)
from app.cli.merging import differing, find_app_root, merge
from app.cli.run_files import RunFiles
from app.settings import Settings, declared_keys, parse_run_config
from app.trackers.names import check_installed
from models.errors import RunDirectoryError

_POLL_SECONDS = 0.2
_GRACE_SECONDS = 15.0


def run_federation(
    files: Sequence[Path],
    words: Sequence[str],
    superlink: str | None,
    federation_config: Sequence[str],
    console: Console,
) -> int:
    """Merge, validate, run and follow; return the exit code.

    Raises
    ------
    ConfigurationError
        If a preset or a setting will not do; nothing has been started then.
    RunDirectoryError
        If the run directory holds another run.
    """
    root = find_app_root()
    merged = merge(files, words, root)
    settings = _validated(merged)
    if superlink is None:  # else the server is another machine, which looks for itself
        check_installed(settings.trackers)
    _refuse_overwrite(settings)
    _announce(settings, console)
    config = differing(merged) | {
        "run-name": settings.run_name,
        "out-dir": str(settings.out_dir),
    }
    run_files = RunFiles(settings.run_dir)
    with FlowerProcess(root, config, superlink, federation_config) as process:
        try:
            with ended_like_ctrl_c():
                follow(process, run_files, choose_display(console, settings.num_server_rounds))
        except KeyboardInterrupt:
            _say_how_to_stop(process.run_id, superlink, settings, console)
            return INTERRUPTED
        outcome = judge(run_files.status(), process.code, superlink)
        tail = process.tail()
    _conclude(outcome, tail, settings, console)
    return outcome.code


def _validated(merged: dict[str, object]) -> Settings:
    from app.registry import registry

    return parse_run_config(merged, registry()).named(datetime.now())


def _refuse_overwrite(settings: Settings) -> None:
    if not settings.resume and (settings.run_dir / "status.json").exists():
        raise RunDirectoryError(
            f"{settings.run_dir} holds a run already; continue it with resume=true, "
            "or give another run-name"
        )


def _announce(settings: Settings, console: Console) -> None:
    keys = declared_keys()
    console.print(
        f"{settings.strategy} with {settings.adapter} on {settings.dataset}: "
        f"{settings.num_server_rounds} rounds",
        markup=False,
        highlight=False,
        style="bold",
    )
    for key, value in settings.to_flat().items():
        resolved = key in ("run-name", "out-dir", "partition-seed")
        if value != keys[key].default and not resolved:
            console.print(f"  {key} = {value}", markup=False, highlight=False, soft_wrap=True)
    _print_run_dir(settings, console)


def _print_run_dir(settings: Settings, console: Console) -> None:
    console.print(
        f"run directory: {settings.run_dir}", markup=False, highlight=False, soft_wrap=True
    )


def follow(process: FlowerProcess, run_files: RunFiles, display: Display) -> None:
    """Show a run until ``flwr run`` has ended."""
    ended_at: float | None = None
    with display:
        while process.code is None:
            _show(run_files, display)
            if ended_at is None and is_final(run_files.status()):
                ended_at = time.monotonic()
            if ended_at is not None and time.monotonic() - ended_at > _GRACE_SECONDS:
                # The run has said its last word; Flower's log stream may hang on.
                process.stop_following()
            time.sleep(_POLL_SECONDS)
        _show(run_files, display)


def _show(run_files: RunFiles, display: Display) -> None:
    for metrics in run_files.new_rounds():
        display.round_done(metrics)
    display.progress(run_files.progress())


def _say_how_to_stop(
    run_id: str | None, superlink: str | None, settings: Settings, console: Console
) -> None:
    console.print("No longer following; the run goes on.", style="yellow")
    name = f" {superlink}" if superlink else ""
    number = run_id or "RUN_ID"
    if run_id is None:
        console.print(f"Find its RUN_ID with: flwr list{name}", markup=False, highlight=False)
    console.print(f"Stop it with: flwr stop {number}{name}", markup=False, highlight=False)
    _print_run_dir(settings, console)


def _conclude(outcome: Outcome, tail: Sequence[str], settings: Settings, console: Console) -> None:
    if outcome.code == 0:
        from app.report.summary import print_summary

        print_summary(settings.run_dir, console)
    else:
        console.print("last lines of Flower's log:", style="dim")
        for line in tail:
            console.print(f"  {line}", markup=False, highlight=False, style="dim", soft_wrap=True)
        console.print("the run failed", style="bold red", end="")
        console.print(f" (code {outcome.code}): {outcome.message}", markup=False, highlight=False)
    _print_run_dir(settings, console)
