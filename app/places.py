"""Where our own code is on this machine: the bundle, and its code's hash."""

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


def enter_bundle() -> None:
    """Make an unpacked bundle the working directory.

    In simulation, Ray's workers put the working directory of the shell that started the local
    SuperLink before the bundle: from another checkout they would run that checkout's code.
    """
    from flwr.supercore.utils import get_flwr_home

    if (get_flwr_home() / "apps").resolve() in ROOT.parents:
        os.chdir(ROOT)
