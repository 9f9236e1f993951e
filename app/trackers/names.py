"""Which trackers there are, and whether what they need is installed."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec

from models.errors import ConfigurationError

TRACKERS = ("tensorboard", "mlflow", "wandb")
"""Each is the name of its package and of the extra that installs it."""


def check_installed(names: Iterable[str]) -> None:
    """Refuse trackers whose package is missing on this machine.

    Raises
    ------
    ConfigurationError
        With a line for each, and what installs it.
    """
    missing = [
        f"tracker '{name}' needs the package {name}, which is not installed on this machine; "
        f'pip install "fedbouquet[{name}]", or leave it out of trackers'
        for name in names
        if not _installed(name)
    ]
    if missing:
        raise ConfigurationError(missing)


def _installed(package: str) -> bool:
    spec = find_spec(package)
    # wandb leaves a folder `wandb` behind, which would pass for a package without files.
    return spec is not None and spec.origin is not None
