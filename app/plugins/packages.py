"""The packages that bring methods: their names and versions, without importing any of them."""

from __future__ import annotations

import importlib.metadata
import re
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
    """Return the package that an entry point belongs to; what is damaged may not say its name."""
    told = point.dist.metadata if point.dist is not None else None
    name, version = (told[key] if told is not None else None for key in ("Name", "Version"))
    return Package(name or re.split(r"\W", point.value)[0], version or "unknown")


def installed() -> dict[str, str]:
    """Return the versions of all packages here that bring methods, by name."""
    return {p.name: p.version for p in sorted(map(package_of, entry_points()))}
