"""The packages that bring methods: their names and versions, without importing any of them."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable
from dataclasses import dataclass

GROUP = "fedbouquet.methods"


@dataclass(frozen=True, order=True)
class Package:
    """An installed package.

    Attributes
    ----------
    name : str
        As ``pip install`` takes it.
    version : str
    """

    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


def entry_points() -> Iterable[importlib.metadata.EntryPoint]:
    """Return the entry points of all packages that bring methods."""
    return importlib.metadata.entry_points(group=GROUP)


def package_of(point: importlib.metadata.EntryPoint) -> Package:
    """Return the package that an entry point belongs to."""
    if point.dist is None:
        return Package(point.module.split(".")[0], "unknown")
    return Package(point.dist.name, point.dist.version)


def installed() -> dict[str, str]:
    """Return the versions of all packages here that bring methods, by name."""
    return {p.name: p.version for p in sorted(map(package_of, entry_points()))}
