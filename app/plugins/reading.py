"""From entry points to methods: whatever is wrong with one costs only that one."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Iterable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, field

from app.plugins.checks import form_error, missing_half
from app.plugins.method import Method
from app.plugins.packages import Package, package_of
from clients.objectives import Objective
from clients.trainers import Trainer
from models.errors import one_line


@dataclass(frozen=True)
class Broken:
    """A method of an installed package that cannot be used.

    Attributes
    ----------
    name : str
        Of the entry point.
    package : Package
    reason : str
    """

    name: str
    package: Package
    reason: str

    def __str__(self) -> str:
        return f"method '{self.name}' of {self.package} cannot be used: {self.reason}"


@dataclass
class Plugins:
    """All methods and client halves that are known, built in and from packages.

    Attributes
    ----------
    methods : dict of str to Method
    objectives : dict of str to type of Objective
    trainers : dict of str to type of Trainer
    packages : dict of str to Package
        Of the methods that are not built in.
    broken : list of Broken
    """

    methods: dict[str, Method]
    objectives: dict[str, type[Objective]]
    trainers: dict[str, type[Trainer]]
    packages: dict[str, Package] = field(default_factory=dict)
    broken: list[Broken] = field(default_factory=list)

    def taken(self, method: Method) -> str:
        """Say which of a method's names somebody else has; empty if none."""
        for word, names, known in (
            ("method", [method.name], self.methods),
            ("objective", method.objectives, self.objectives),
            ("trainer", method.trainers, self.trainers),
        ):
            for name in names:
                if name in known:
                    owner = self._owner(word, name)
                    return f"the name of its {word} '{name}' is taken by {owner}; choose another"
        return ""

    def add(self, method: Method, package: Package | None = None) -> None:
        """Take a method and its client halves in."""
        self.methods[method.name] = method
        self.objectives.update(method.objectives)
        self.trainers.update(method.trainers)
        if package is not None:
            self.packages[method.name] = package

    def remove(self, method: Method) -> None:
        """Let a method and its client halves go."""
        del self.methods[method.name], self.packages[method.name]
        for name in method.objectives:
            del self.objectives[name]
        for name in method.trainers:
            del self.trainers[name]

    def _owner(self, word: str, name: str) -> str:
        for method, package in self.packages.items():
            found = self.methods[method]
            if name in (found.objectives if word == "objective" else found.trainers) or (
                word == "method" and name == method
            ):
                return f"the package {package}"
        return f"a built-in {word}"


def read_plugins(known: Plugins, points: Iterable[importlib.metadata.EntryPoint]) -> Plugins:
    """Add the methods of packages to those that are known; keep the reasons of those that fail.

    Where two packages use one name, the first in the order of their names keeps it.
    """
    entries: dict[str, str] = {}
    for point in sorted(points, key=lambda p: (package_of(p), p.name)):
        package = package_of(point)
        if point.pattern.match(point.value) is None:
            wrong = f"its entry point is '{point.value}', which is not of the form 'module:METHOD'"
            known.broken.append(Broken(point.name, package, wrong))
            continue
        try:
            with redirect_stdout(sys.stderr):  # what a list is printed to is no place for others
                found = point.load()
            wrong = form_error(found) or known.taken(found)
        except (Exception, SystemExit) as error:  # it may fail in any way; the rest must work
            reason = one_line(f"{type(error).__name__}: {error}", 500)
            known.broken.append(Broken(point.name, package, f"it does not load: {reason}"))
            continue
        if wrong:
            known.broken.append(Broken(point.name, package, wrong))
        else:
            known.add(found, package)
            entries[found.name] = point.name
    while lost := _without_half(known):
        for name, reason in lost.items():
            known.broken.append(Broken(entries[name], known.packages[name], reason))
            known.remove(known.methods[name])
    return known


def _without_half(known: Plugins) -> Mapping[str, str]:
    found = {
        name: missing_half(known.methods[name], known.objectives, known.trainers)
        for name in known.packages
    }
    return {name: reason for name, reason in found.items() if reason}
