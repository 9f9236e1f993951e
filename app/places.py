"""Where things are on this machine: the bundle, its code's hash, the state folder."""

from __future__ import annotations

import functools
import hashlib
import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("app", "clients", "fedbouquet", "models", "strategies")


@functools.cache
def code_hash() -> str:
    """Hash of our own source files, so that server and nodes know they run the same code."""
    digest = hashlib.sha256()
    for package in PACKAGES:
        for file in sorted((ROOT / package).rglob("*.py")):
            digest.update(str(file.relative_to(ROOT)).encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def state_folder(wanted: str | os.PathLike[str] | None = None) -> Path:
    """Return the folder for what outlives a process: bases, plans, cards, personal state.

    Parameters
    ----------
    wanted : path, optional
        What the node or the run says; else ``$BOUQUET_HOME``, else ``~/.bouquet``.
    """
    chosen = str(wanted or "") or os.environ.get("BOUQUET_HOME") or ""
    return Path(chosen) if chosen else Path.home() / ".bouquet"


def enter_bundle() -> None:
    """Make an unpacked bundle the working directory.

    In simulation, Ray's workers put the working directory of the shell that started the local
    SuperLink before the bundle: from another checkout they would run that checkout's code.
    """
    from flwr.supercore.utils import get_flwr_home

    if (get_flwr_home() / "apps").resolve() in ROOT.parents:
        os.chdir(ROOT)
