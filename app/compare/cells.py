"""The runs of a comparison: every method with every seed, on the same partition."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.compare.contestants import LOCAL, Contestant
from app.registry import registry
from app.run_directory.directory import MAY_CHANGE
from app.settings import Settings, default_config, parse_run_config
from app.trackers.names import check_installed
from models.errors import ConfigurationError

# What a run is called and where it lies changes nothing of what it computes.
_NOT_HASHED = (MAY_CHANGE | {"out-dir", "run-name"}) - {"num-server-rounds"}

# A preset may be a whole scenario; as a method among others it meets this one's clients.
_SCENARIO = frozenset(
    {
        "baselines", "clients-per-round", "clock", "dataset", "drift", "drift-args",
        "group-columns", "image-column", "label-column", "labels", "messages-column", "num-clients",
        "num-server-rounds", "out-dir", "participation", "participation-args", "partition",
        "partition-args", "population", "population-args", "prompt-column", "response-column",
        "resume", "server-data-path", "table-columns", "task", "task-args", "test-fraction",
        "text-column",
    }
)  # fmt: skip
# A preset that names no method is one of plain averaging, whatever the scenario's own method.
_PLAIN = {"strategy": default_config()["strategy"], "strategy-args": ""}


@dataclass(frozen=True)
class Cell:
    """One run.

    Attributes
    ----------
    method : str
        The contestant's name.
    seed : int
        Of training; the partition has its own.
    config : mapping
        Flat run-config, without ``resume``.
    folder : Path
        Its run directory.
    """

    method: str
    seed: int
    config: Mapping[str, object]
    folder: Path

    @property
    def state(self) -> str:
        """What its ``status.json`` says: finished, failed, stopped, running; empty before."""
        try:
            status = json.loads((self.folder / "status.json").read_text("utf-8"))
        except (FileNotFoundError, json.JSONDecodeError):
            return ""
        return str(status.get("state", "")) if isinstance(status, dict) else ""

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to run."""
        return self.state == "finished"

    @property
    def begun(self) -> bool:
        """Whether there is something to continue."""
        return (self.folder / "config.toml").is_file()


def plan_cells(
    scenario: str,
    base: Mapping[str, object],
    contestants: Sequence[Contestant],
    presets: Mapping[str, Mapping[str, object]],
    seeds: int,
    folder: Path,
) -> list[Cell]:
    """Return all runs, seed by seed, `local` among them, which the gains are counted from.

    Parameters
    ----------
    scenario : str
        Its name, for those of the runs.
    base : mapping
        The scenario's run-config.
    contestants : sequence of Contestant
    presets : mapping of str to mapping
        What the presets that contestants name say; data, clients and rounds stay the scenario's.
    seeds : int
        How many, from the scenario's ``seed`` on; the partition stays that of the first one.
    folder : Path
        Absolute; the runs lie in it.

    Raises
    ------
    ConfigurationError
        With every error of every method, named; nothing was started then.
    """
    # Baselines would train once a method what is trained once a seed here.
    common = {**base, "baselines": "", "out-dir": str(folder)}
    first = parse_run_config(common, registry())
    check_installed(first.trackers)
    alone = [] if any(c.settings == LOCAL.settings for c in contestants) else [LOCAL]
    cells: list[Cell] = []
    errors: list[str] = []
    for seed in range(first.seed, first.seed + seeds):
        for one in [*contestants, *alone]:
            brought = presets.get(one.preset, {}).items()
            told = {key: value for key, value in brought if key not in _SCENARIO}
            plain = _PLAIN if one.preset else {}
            own = {**common, **plain, **told, **one.settings, "seed": seed}
            own |= {"partition-seed": first.to_flat()["partition-seed"]}
            try:
                if first.closing_args and "closing-args" not in told:
                    own = _closed_as_meant(own, first)
                settings = parse_run_config(own, registry())
            except ConfigurationError as error:
                errors += [f"{one.name}: {line}" for line in error.errors]
                continue
            name = f"{scenario}-{one.slug}-seed-{seed}-{_mark(settings)}"
            same = [cell.method for cell in cells if cell.folder == folder / name]
            errors += [f"methods: '{one.name}' and '{other}' are the same" for other in same]
            cells.append(Cell(one.name, seed, {**own, "run-name": name}, folder / name))
    if errors:
        raise ConfigurationError(list(dict.fromkeys(errors)))
    return cells


def _closed_as_meant(own: dict[str, object], first: Settings) -> dict[str, object]:
    """Leave out the scenario's options of a closing rule where a method closes by another."""
    without = {**own, "closing-args": ""}
    return own if _closing(parse_run_config(without, registry())) == _closing(first) else without


def _closing(settings: Settings) -> str:
    return settings.closing or registry().closing_of(settings.methods, settings.method_options)


def _mark(settings: Settings) -> str:
    """Return eight digits that other settings would change."""
    told = {key: value for key, value in settings.to_flat().items() if key not in _NOT_HASHED}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:8]
