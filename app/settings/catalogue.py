"""What the settings must know of the registry, and no more."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol


class MethodCatalogue(Protocol):
    """Names of methods, objectives, adapters and scenarios, and checks of their options.

    Every ``*_errors`` returns one line an error, and nothing for options that will do.
    """

    def method_names(self) -> Collection[str]:
        """Names usable in ``strategy``."""

    def missing_method(self, name: str) -> str:
        """Say why a name cannot be used in ``strategy``."""

    def is_wrapper(self, name: str) -> bool:
        """Say whether a method wraps another one."""

    def option_errors(self, name: str, options: Mapping[str, object]) -> list[str]:
        """Check a method's options."""

    def composition_errors(
        self, names: tuple[str, ...], options: Mapping[str, Mapping[str, object]]
    ) -> list[str]:
        """Say why known methods with checked options cannot be put together."""

    def closing_of(
        self, names: tuple[str, ...], options: Mapping[str, Mapping[str, object]]
    ) -> str:
        """Return what closes the rounds of a composition where the settings do not say."""

    def closing_errors(
        self, closing: str, names: tuple[str, ...], options: Mapping[str, Mapping[str, object]]
    ) -> list[str]:
        """Say why the rounds of a composition cannot be closed by a rule."""

    def method_needs_labels(self, name: str) -> bool:
        """Say whether a method works on classes."""

    def objective_of(self, names: tuple[str, ...]) -> str:
        """Return the local objective of a composition where the settings name none."""

    def objective_names(self) -> Collection[str]:
        """Names usable in ``objective``."""

    def objective_needs_labels(self, name: str) -> bool:
        """Say whether an objective works on classes."""

    def objective_option_errors(self, name: str, options: Mapping[str, object]) -> list[str]:
        """Check an objective's options."""

    def adapter_names(self) -> Collection[str]:
        """Names usable in ``adapter``."""

    def adapter_option_errors(self, name: str, options: Mapping[str, object]) -> list[str]:
        """Check an adapter's options."""

    def participation_names(self) -> Collection[str]:
        """Names usable in ``participation``."""

    def participation_option_errors(self, name: str, options: Mapping[str, object]) -> list[str]:
        """Check the options of a participation scenario."""

    def population_names(self) -> Collection[str]:
        """Names usable in ``population``."""

    def population_option_errors(self, name: str, options: Mapping[str, object]) -> list[str]:
        """Check the options of a population."""

    def partition_errors(self, name: str, options: Mapping[str, object]) -> list[str]:
        """Check a partition's name and its arguments."""
