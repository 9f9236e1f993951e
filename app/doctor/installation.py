"""This machine: versions, commands, ports, disk."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
from packaging.requirements import Requirement

from app.cli.launch import find_command
from app.doctor.finding import Finding
from models.errors import ConfigurationError

_NAME = "fedbouquet"
_LEAST_FREE = 2 << 30
_LOCAL_PORT = "FLWR_LOCAL_SUPERLINK_HTTP_API_PORT"


def check_versions() -> Iterator[Finding]:
    """Hold what is installed against what this package asks for."""
    python = ".".join(map(str, sys.version_info[:3]))
    declared = importlib.metadata.requires(_NAME) or []
    needed = [Requirement(text) for text in declared]
    # Extras are somebody's choice; what runs without them is not ill.
    needed = [r for r in needed if r.marker is None or r.marker.evaluate({"extra": ""})]
    wrong = [said for requirement in needed if (said := _mismatch(requirement))]
    if wrong:
        remedy = "pip install -c constraints.txt -e . in the folder of the app"
        yield Finding("problem", "packages", "; ".join(wrong), remedy)
    else:
        told = ", ".join(f"{n} {importlib.metadata.version(n)}" for n in ("flwr", "torch", "peft"))
        yield Finding("good", "packages", f"Python {python}, {told}; {len(needed)} as declared")


def _mismatch(requirement: Requirement) -> str:
    try:
        version = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        return f"{requirement.name} is not installed (needs {requirement.specifier or 'any'})"
    if requirement.specifier.contains(version, prereleases=True):
        return ""
    return f"{requirement.name} is {version}, needs {requirement.specifier}"


def check_commands() -> Iterator[Finding]:
    """Look for Flower's commands, and whether they see what is installed here."""
    for name in ("flwr", "flower-superlink", "flower-supernode"):
        try:
            path = find_command(name)
        except ConfigurationError as error:
            yield Finding("problem", "commands", str(error), "pip install 'flwr[simulation]'")
            return
        if elsewhere := _other_python(Path(path)):
            yield Finding(
                "warning",
                "commands",
                f"{path} belongs to {elsewhere}, and this is {sys.executable}: a run does not see "
                "packages, such as those of methods, that are installed here alone",
                "python -m pip install --force-reinstall --no-deps flwr, or install them there",
            )
            return
    yield Finding("good", "commands", "flwr, flower-superlink and flower-supernode are there")


def _other_python(script: Path) -> str:
    """Return the interpreter that a script begins with; empty if it is this environment's."""
    with script.open("rb") as file:
        line = file.readline(1000).decode("utf-8", "replace").strip()
    named = Path(line.removeprefix("#!").strip())
    ours = not line.startswith("#!/") or named.parent == Path(sys.executable).parent
    return "" if ours or not named.name.startswith("python") else str(named)


def check_ports(root: Path) -> Iterator[Finding]:
    """Say who listens where ``flwr run`` starts its local SuperLink."""
    told = os.environ.get(_LOCAL_PORT, "39091")
    port = int(told) if told.isdecimal() else 0
    if not 0 < port < 1 << 16:
        yield Finding("problem", "ports", f"{_LOCAL_PORT} is '{told}'", "set it to a free port")
        return
    with socket.socket() as probe:
        taken = probe.connect_ex(("127.0.0.1", port)) == 0
    if not taken:
        yield Finding("good", "ports", f"{port} is free: flwr run starts its SuperLink there")
        return
    try:
        flower = httpx.get(f"http://127.0.0.1:{port}/health", timeout=2.0).is_success
    except httpx.HTTPError:
        flower = False
    if flower:
        yield Finding(
            "warning",
            "ports",
            f"a SuperLink runs at 127.0.0.1:{port}; flwr run takes it, with the environment of the "
            "shell that started it",
            f"if it was not started from {root}, end that process, or set {_LOCAL_PORT} and "
            "FLWR_LOCAL_CONTROL_API_PORT to free ports",
        )
    else:
        yield Finding(
            "problem",
            "ports",
            f"something that is no SuperLink listens at 127.0.0.1:{port}",
            f"end it, or set {_LOCAL_PORT} to a free port",
        )


def check_folder(about: str, folder: Path) -> Iterator[Finding]:
    """Say whether a folder can be written to, and how much is free there."""
    there = folder
    while not there.exists():
        there = there.parent
    if not there.is_dir():
        yield Finding("problem", about, f"{there} is no folder", f"choose another {about}")
        return
    if not os.access(there, os.W_OK):
        yield Finding("problem", about, f"{there} cannot be written to", f"choose another {about}")
        return
    free = shutil.disk_usage(there).free
    found = f"{folder}: {free / 1e9:.1f} GB free"
    if free < _LEAST_FREE:
        yield Finding("warning", about, found, "free some space, or choose another disk")
    else:
        yield Finding("good", about, found)
