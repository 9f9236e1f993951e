"""``bouquet doctor``: what would go wrong, before a run."""

from __future__ import annotations

import json
import shlex
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from itertools import chain
from pathlib import Path

from rich.console import Console
from rich.text import Text

from app.cli.launch import FlowerProcess, judge
from app.cli.merging import differing, find_app_root, merge
from app.cli.run_files import RunFiles
from app.doctor.connection import check_connection
from app.doctor.finding import Finding
from app.doctor.installation import check_commands, check_folder, check_ports, check_versions
from app.registry import registry
from app.settings import Settings, parse_run_config
from app.trackers.names import check_installed
from models.errors import ConfigurationError
from models.files import state_folder

_MARKS = {"good": ("ok", "green"), "warning": ("look", "yellow"), "problem": ("PROBLEM", "red")}


def examine(
    files: Sequence[Path],
    words: Sequence[str],
    node: str | None,
    on: str | None,
    as_json: bool,
    console: Console,
) -> int:
    """Print every finding with its remedy; return 1 if one is a problem.

    Raises
    ------
    ConfigurationError
        The node's configuration cannot be read.
    """
    root = find_app_root()
    found = list(chain(check_versions(), check_commands(), check_ports(root)))
    found += _broken_plugins()
    try:
        settings = parse_run_config(merge(files, words, root), registry()).named(datetime.now())
    except ConfigurationError as error:
        found += [Finding("problem", "settings", line, "mend it") for line in error.errors]
    else:
        found += check_folder("out-dir", settings.out_dir)
        found += check_folder("state-dir", state_folder(settings.state_dir))
        found += _trackers(settings) if on is None else ()
        found += _scenario(settings, node, on, root)
    if as_json:
        console.print_json(json.dumps([asdict(one) for one in found]))
    else:
        _show(found, console)
    return int(any(one.level == "problem" for one in found))


def _trackers(settings: Settings) -> Iterator[Finding]:
    try:
        check_installed(settings.trackers)
    except ConfigurationError as error:
        for line in error.errors:
            yield Finding("problem", "trackers", line, "install it, or leave it out of trackers")


def _scenario(
    settings: Settings, node: str | None, on: str | None, root: Path
) -> Iterator[Finding]:
    from app.doctor.scenario import check_data, check_node

    if node is not None:
        yield from check_node(settings, read_node_config(node))
    elif on is None:
        yield from check_data(settings)
    if on is not None:
        reached = list(check_connection(on))
        yield from reached
        if all(one.level != "problem" for one in reached):
            yield from _rehearse(settings, on, root)


def _broken_plugins() -> Iterator[Finding]:
    for broken in registry().broken:
        remedy = "mend or uninstall the package; everything else works without it"
        yield Finding("warning", "plug-ins", str(broken), remedy)


def _rehearse(settings: Settings, on: str, root: Path) -> Iterator[Finding]:
    """Greet and prepare the nodes of a SuperLink, without any training."""
    from app.doctor.rehearsal import read_rehearsal

    name = f"rehearsal-{settings.run_name}"
    flat = {**settings.to_flat(), "run-name": name, "rehearsal": True, "resume": False}
    folder = settings.out_dir / name
    files = RunFiles(folder)
    with FlowerProcess(root, differing(flat), on, ()) as process:
        code = process.wait()
    outcome = judge(files.status(), code, on)
    if outcome.code:
        yield Finding("problem", "federation", outcome.message, "the message says what to mend")
    if not outcome.code or (folder / "rehearsal.json").is_file():
        yield from read_rehearsal(folder)


def read_node_config(text: str) -> Mapping[str, object]:
    """Read what ``flower-supernode --node-config`` takes: TOML pairs between spaces.

    Raises
    ------
    ConfigurationError
        It is not that.
    """
    try:
        pairs = [pair.partition("=") for pair in shlex.split(text, posix=True)]
        lines = [
            f"{key} = {value if _is_toml(value) else json.dumps(value)}" for key, _, value in pairs
        ]
        if not all(equals for _, equals, _ in pairs):
            raise ValueError("a pair lacks its '='")
        return tomllib.loads("\n".join(lines))
    except ValueError as error:  # TOML's error is one, as is shlex's
        raise ConfigurationError(
            f"--node: '{text}' is no node configuration ({error}); write it as for "
            'flower-supernode: \'client-id="hospital-a" data-path="/data/a"\''
        ) from None


def _is_toml(value: str) -> bool:
    try:
        tomllib.loads(f"v = {value}")
    except tomllib.TOMLDecodeError:
        return False
    return True


def _show(found: Sequence[Finding], console: Console) -> None:
    for one in found:
        mark, style = _MARKS[one.level]
        console.print(Text.assemble((f"{mark:>8}  ", style), f"{one.about}: {one.found}"),
                      soft_wrap=True)  # fmt: skip
        if one.remedy:
            console.print(Text(f"          -> {one.remedy}", style="dim"), soft_wrap=True)
    problems = sum(one.level == "problem" for one in found)
    console.print("No problem found." if not problems else f"{problems} to mend.")
