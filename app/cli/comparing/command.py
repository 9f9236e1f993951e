"""``bouquet compare``: several methods and seeds on the same clients."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from app.cli.comparing.runs import UnderFlower, run_cells
from app.cli.comparing.superlink import OwnSuperLink
from app.cli.launch import INTERRUPTED, ended_like_ctrl_c
from app.cli.merging import differing, find_app_root, merge
from app.compare.cells import Cell, plan_cells
from app.compare.comparison import make_comparison
from app.compare.contestants import parse_contestants
from app.compare.meaning import meanings
from app.compare.outcomes import read_outcomes
from app.compare.writer import print_comparison, write_comparison
from app.registry import registry
from app.settings import parse_run_config
from models.errors import ConfigurationError

# What a reader must know of a scenario, though it may be as it is by default.
_ALWAYS_TOLD = {
    "dataset", "partition", "partition-args", "partition-seed", "num-clients", "clients-per-round",
    "num-server-rounds", "model", "adapter", "local-epochs", "learning-rate",
}  # fmt: skip
_METHODS_OWN = {"strategy", "strategy-args", "out-dir", "run-name", "resume", "baselines"}


def compare_methods(
    files: Sequence[Path],
    words: Sequence[str],
    methods: str,
    seeds: int,
    target: float | None,
    out: Path | None,
    federation_config: Sequence[str],
    console: Console,
) -> int:
    """Run what is not finished yet, write table and report; return the exit code.

    Raises
    ------
    ConfigurationError
        A method, a preset or a setting will not do; nothing has been started then.
    """
    if seeds < 1 or (target is not None and not 0 < target <= 1):
        raise ConfigurationError("--seeds takes 1 or more; --target an accuracy in (0, 1]")
    root = find_app_root()
    contestants = parse_contestants(methods)
    base = merge(files, words, root)
    name = scenario_name(files, words)
    presets = {c.preset: merge([], [c.preset], root) for c in contestants if c.preset}
    scenario = parse_run_config(base, registry())
    folder = (out or scenario.out_dir / f"compare-{name}").absolute()
    cells = plan_cells(name, base, contestants, presets, seeds, folder / "runs")
    folder.mkdir(parents=True, exist_ok=True)
    console.print(f"comparison: {folder}", markup=False, highlight=False, soft_wrap=True)
    failed: list[str] = []
    code = 0
    if not all(cell.finished for cell in cells):
        try:
            with ended_like_ctrl_c(), OwnSuperLink(folder / "superlink.log") as superlink:
                under = UnderFlower(superlink, federation_config, console)
                run_cells(cells, under, console, failed)
        except KeyboardInterrupt:
            console.print("Stopped; the same command goes on from here.", style="yellow")
            code = INTERRUPTED
    outcomes, missing = read_outcomes(cells), _missing(cells, failed)
    told = meanings(cells)
    shown = {*_ALWAYS_TOLD, *differing(base)} - _METHODS_OWN
    settings = {key: value for key, value in scenario.to_flat().items() if key in shown}
    comparison = make_comparison(name, outcomes, missing, settings, target, told)
    page = write_comparison(comparison, folder)
    print_comparison(comparison, console)
    console.print(f"Report: {page}", markup=False, highlight=False, soft_wrap=True)
    return code or int(bool(failed))


def scenario_name(files: Sequence[Path], words: Sequence[str]) -> str:
    """Return a name for the scenario: its presets, and its words but for where it is written."""
    told = [Path(f).stem for f in files]
    told += [Path(w).stem if "=" not in w else w for w in words if not _is_methods_own(w)]
    name = re.sub(r"[^a-z0-9.]+", "-", "-".join(told).lower()).strip("-.")
    return name[:60].rstrip("-.") or "default"


def _is_methods_own(word: str) -> bool:
    key, equals, _ = word.partition("=")
    return bool(equals) and key.strip() in _METHODS_OWN


def _missing(cells: Sequence[Cell], failed: Sequence[str]) -> list[str]:
    """Say which runs are not finished, and why where it is known."""
    reasons = {line.partition(": ")[0]: line for line in failed}
    names = [f"{cell.method}, seed {cell.seed}" for cell in cells if not cell.finished]
    return [reasons.get(name, name) for name in names]
