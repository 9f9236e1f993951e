"""The registry: every method by name, built in or from an installed package.

A method is a server half and what it brings for clients, registered together, so that they cannot
drift apart. Packages name theirs in the entry-point group ``fedbouquet.methods``; each entry point
loads to a `Method`.
"""

from __future__ import annotations

import functools
import importlib.metadata
from collections.abc import Collection, Iterable, Mapping, Sequence

from app.built_in import BUILT_IN
from app.plugins.method import Method, Scalar
from app.plugins.packages import Package, entry_points
from app.plugins.reading import Broken, Plugins, read_plugins
from app.surroundings import Surroundings
from clients.objectives import OBJECTIVES, Objective
from clients.trainers import TRAINERS
from models.adapters import option_errors
from models.errors import ConfigurationError, nearest
from strategies.base import Strategy, Wrapper
from strategies.prototypes.base import check_order
from strategies.rounds.closing import closing_errors


class Registry(Surroundings):
    """Methods, objectives, adapters and partitions by name; checks their options.

    Parameters
    ----------
    methods : iterable of Method
    entry_points : iterable of importlib.metadata.EntryPoint
        Of installed packages; a broken one is kept with its reason in `broken`.
    """

    def __init__(
        self,
        methods: Iterable[Method] = BUILT_IN,
        entry_points: Iterable[importlib.metadata.EntryPoint] = (),
    ) -> None:
        self._known = Plugins({}, dict(OBJECTIVES), dict(TRAINERS))
        for method in methods:
            self._known.add(method)
        read_plugins(self._known, entry_points)

    def __getitem__(self, name: str) -> Method:
        if name not in self._known.methods:
            raise ConfigurationError(f"strategy: {self.missing_method(name)}")
        return self._known.methods[name]

    @property
    def methods(self) -> Mapping[str, Method]:
        """All methods by name, built in first; some may have only a client half."""
        return self._known.methods

    @property
    def objectives(self) -> Mapping[str, type[Objective]]:
        """All objectives by name."""
        return self._known.objectives

    @property
    def broken(self) -> Sequence[Broken]:
        """Methods of installed packages that cannot be used, and why."""
        return self._known.broken

    def package(self, name: str) -> Package | None:
        """Return the package that brings a method; None for those built in."""
        return self._known.packages.get(name)

    def packages_for(self, methods: Iterable[str], objective: str = "") -> dict[str, str]:
        """Return the packages that every node needs, as versions by name.

        Those of the methods, and those that bring a client half which one of them names.

        Parameters
        ----------
        methods : iterable of str
            Those of the composition.
        objective : str
            The local objective, where the settings name one.
        """
        chosen = [self[name] for name in methods]
        objectives = {objective, *(method.objective for method in chosen)}
        trainers = {method.trainer for method in chosen}
        wanted = {self._known.packages.get(method.name) for method in chosen}
        for name, package in self._known.packages.items():
            method = self._known.methods[name]
            if objectives & method.objectives.keys() or trainers & method.trainers.keys():
                wanted.add(package)
        return {package.name: package.version for package in wanted if package is not None}

    def server_half(self, name: str) -> type[Strategy]:
        """Return a method's server half.

        Raises
        ------
        ConfigurationError
            There is no such method, or it has none.
        """
        half = self[name].strategy
        if half is None:
            raise ConfigurationError(f"strategy: {self.missing_method(name)}")
        return half

    def presets(self) -> dict[str, Mapping[str, Scalar]]:
        """Return the presets of methods that are not built in, by the method's name."""
        named = {n: {"strategy": n} for n in self.method_names()}
        return {n: {**named.get(n, {}), **self[n].preset} for n in self._known.packages}

    def install_client_halves(self) -> None:
        """Make the client halves of installed packages known to this process's clients."""
        OBJECTIVES.update(self._known.objectives)
        TRAINERS.update(self._known.trainers)

    def compose(
        self, names: tuple[str, ...], options: Mapping[str, Mapping[str, object]]
    ) -> Strategy:
        """Build ``outer > inner`` with each method's options.

        Raises
        ------
        ConfigurationError
            An impossible pair.
        """
        *outer, last = names
        innermost = self.server_half(last)
        strategy = innermost(**options.get(last, {}))
        for name in reversed(outer):
            wrapper = self.server_half(name)
            if not issubclass(wrapper, Wrapper):
                raise ConfigurationError(f"strategy: '{name}' does not wrap another method")
            strategy = wrapper(strategy, **options.get(name, {}))
        check_order(strategy)
        return strategy

    # ---- what the settings ask -----------------------------------------------------------

    def method_names(self) -> Collection[str]:
        """Names usable in ``strategy``."""
        return [name for name, m in self._known.methods.items() if m.strategy is not None]

    def missing_method(self, name: str) -> str:
        """Say why a name cannot be used in ``strategy``."""
        if name in self._known.methods:
            halves = self[name]
            brought = [f"objective='{o}'" for o in halves.objectives]
            hint = f"; use {' or '.join(brought)}" if brought else ""
            return f"'{name}' has no server half{hint}"
        for broken in self.broken:
            if broken.name == name:
                return str(broken)
        return f"no method '{name}'; {nearest(name, self.method_names())}"

    def mixing(self) -> list[str]:
        """Names of the methods for clients whose base models differ."""
        return [name for name in self.method_names() if _mixes(self.server_half(name))]

    def is_wrapper(self, name: str) -> bool:
        """Say whether a method wraps another one."""
        return self.server_half(name).wraps

    def option_errors(self, name: str, options: Mapping[str, object]) -> list[str]:
        """Check a method's options."""
        return option_errors(self.server_half(name).Options, options)

    def objective_of(self, names: tuple[str, ...]) -> str:
        """Return the local objective that belongs to the outermost method that has one."""
        own = [self[name].objective for name in names if self[name].objective]
        return own[0] if own else "cross-entropy"

    def composition_errors(
        self, names: tuple[str, ...], options: Mapping[str, Mapping[str, object]]
    ) -> list[str]:
        """Say why known methods with checked options cannot be put together."""
        try:
            self.compose(names, options)
        except ConfigurationError as error:
            return error.errors
        return []

    def closing_of(
        self, names: tuple[str, ...], options: Mapping[str, Mapping[str, object]]
    ) -> str:
        """Return what closes a composition's rounds where the settings do not say."""
        return self.compose(names, options).own_closing

    def closing_errors(
        self, closing: str, names: tuple[str, ...], options: Mapping[str, Mapping[str, object]]
    ) -> list[str]:
        """Say why the rounds of a composition cannot be closed by a rule."""
        return closing_errors(closing, self.compose(names, options))

    def method_needs_labels(self, name: str) -> bool:
        """Say whether a method works on classes."""
        return self.server_half(name).needs_labels

    def objective_names(self) -> Collection[str]:
        """Names usable in ``objective``."""
        return self._known.objectives.keys()

    def objective_needs_labels(self, name: str) -> bool:
        """Say whether an objective works on classes."""
        return self._known.objectives[name].needs_labels

    def objective_option_errors(self, name: str, options: Mapping[str, object]) -> list[str]:
        """Check an objective's options."""
        return option_errors(self._known.objectives[name], options)


def _mixes(strategy: type[Strategy]) -> bool:
    """Say whether clients may have models of their own, by itself or with what it wraps else."""
    inner = strategy.default_inner if issubclass(strategy, Wrapper) else None
    return strategy.mixes_models or (inner is not None and inner.mixes_models)


@functools.cache
def registry() -> Registry:
    """Return the registry of this process, plug-ins included."""
    return Registry(BUILT_IN, entry_points())
