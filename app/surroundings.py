"""What a run is made of beside its method: adapters, scenarios and partitions by name."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from clients.data import validate_partition
from models.adapters import ADAPTERS, adapter_errors
from strategies.clock.population import population_names, population_option_errors
from strategies.participation import participation_names, participation_option_errors


class Surroundings:
    """The part of a `MethodCatalogue` that no method changes."""

    def adapter_names(self) -> Collection[str]:
        """Names usable in ``adapter``."""
        return ADAPTERS.keys()

    def adapter_option_errors(self, name: str, options: Mapping[str, object]) -> list[str]:
        """Check an adapter's options."""
        return adapter_errors(name, options)

    def participation_names(self) -> Collection[str]:
        """Names usable in ``participation``."""
        return participation_names()

    def participation_option_errors(self, name: str, options: Mapping[str, object]) -> list[str]:
        """Check the options of a participation scenario."""
        return participation_option_errors(name, options)

    def population_names(self) -> Collection[str]:
        """Names usable in ``population``."""
        return population_names()

    def population_option_errors(self, name: str, options: Mapping[str, object]) -> list[str]:
        """Check the options of a population."""
        return population_option_errors(name, options)

    def partition_errors(self, name: str, options: Mapping[str, object]) -> list[str]:
        """Check a partition's name and its arguments."""
        return validate_partition(name, dict(options))
