"""Who the clients are as devices: compute speed, downlink, uplink; and what a round costs them.

A training takes ``download / downlink + examples / speed + upload / uplink`` seconds, times
``exp(jitter z)``. All is a function of the seed, the client and the second, whoever else there is.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, create_model

from models.adapters import option_errors
from models.errors import ConfigurationError, nearest
from strategies.clock.slowness import SPREADS, Slowness, normal
from strategies.participation.base import chance, main_label
from strategies.transport.roster import Client


@dataclass(frozen=True)
class Device:
    """What one client computes and sends with.

    Attributes
    ----------
    speed : float
        Examples a second in training.
    downlink, uplink : float
        Bytes a second; infinite where transfers take no time.
    """

    speed: float
    downlink: float = math.inf
    uplink: float = math.inf

    def seconds(self, examples: float, bytes_down: int, bytes_up: int) -> float:
        """Return how long a training takes, transfers included."""
        return bytes_down / self.downlink + examples / self.speed + bytes_up / self.uplink


class PopulationOptions(BaseModel):
    """What every population has; with its spread's own options they are ``population-args``."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=lambda name: name.replace("_", "-"),
        populate_by_name=True,
        allow_inf_nan=False,
    )

    speed: float = Field(default=100.0, gt=0, description="Examples a second where slowness is 1.")
    downlink: float = Field(default=0.0, ge=0, description="Bytes a second; 0 = takes no time.")
    uplink: float = Field(default=0.0, ge=0, description="Bytes a second; 0 = takes no time.")
    link_sigma: float = Field(
        default=0.0, ge=0, le=5, description="Log-normal spread of the links over clients."
    )
    jitter: float = Field(
        default=0.0, ge=0, le=5, description="Log-normal spread of one client's trainings."
    )
    tied: Literal["none", "labels"] = Field(
        default="none",
        description="labels: clients of the first labels are fast, those of the last slow.",
    )
    tick: float = Field(
        default=3600.0,
        gt=0,
        description="Seconds that participation counts as a round, on the virtual clock.",
    )


class Population:
    """The clients as devices.

    Parameters
    ----------
    options : PopulationOptions
    slowness : Slowness
        How their compute speeds differ.
    seed : int
        The run's seed.
    labels : sequence of str
        All labels of the task, in order; read where speed is tied to them.
    """

    def __init__(
        self,
        options: PopulationOptions,
        slowness: Slowness,
        seed: int = 0,
        labels: Sequence[str] = (),
    ) -> None:
        self.options = options
        self.slowness = slowness
        self._seed = seed
        self._labels = tuple(labels)
        self._devices: dict[str, tuple[Client, Device]] = {}

    def device(self, client: Client) -> Device:
        """Return a client's device."""
        known = self._devices.get(client.id)
        # One that comes back with other data may be tied to other labels.
        if known is None or known[0] is not client:
            self._devices[client.id] = known = (client, self._draw(client))
        return known[1]

    def jitter(self, client: str, second: float) -> float:
        """Return the factor on a training's seconds that begins at a second."""
        sigma = self.options.jitter
        if sigma == 0:
            return 1.0
        return math.exp(sigma * normal(self._chance("jitter", client, repr(second))))

    def _draw(self, client: Client) -> Device:
        options = self.options
        return Device(
            options.speed / self.slowness.at(self._place(client)),
            self._link(options.downlink, "downlink", client.id),
            self._link(options.uplink, "uplink", client.id),
        )

    def _place(self, client: Client) -> float:
        """Return the client's quantile of slowness."""
        place = self._chance("speed", client.id)
        if self.options.tied == "labels":
            label = main_label(client, self._labels)
            if label is not None:
                return (label + place) / len(self._labels)
        return place

    def _link(self, rate: float, which: str, client: str) -> float:
        if rate == 0:
            return math.inf
        sigma = self.options.link_sigma
        return rate * math.exp(sigma * normal(self._chance(which, client))) if sigma else rate

    def _chance(self, *purpose: str) -> float:
        return chance(self._seed, "population", *purpose)


def population_names() -> Collection[str]:
    """Names usable in ``population``."""
    return SPREADS.keys()


def population_option_errors(name: str, options: Mapping[str, object]) -> list[str]:
    """Return one line for each wrong entry of ``population-args``; empty if all is well."""
    return option_errors(_joint_options(name), options)


def make_population(
    name: str,
    options: Mapping[str, object] = MappingProxyType({}),
    seed: int = 0,
    labels: Sequence[str] = (),
) -> Population:
    """Build a population.

    Parameters
    ----------
    name : str
        One of `population_names`.
    options : mapping of str to object
        By kebab-case name, as in ``population-args``.
    seed : int
        The run's seed.
    labels : sequence of str
        All labels of the task, in order.

    Raises
    ------
    ConfigurationError
        Unknown name or wrong options, all at once.
    """
    if name not in SPREADS:
        raise ConfigurationError(f"population = '{name}': {nearest(name, SPREADS)}")
    errors = population_option_errors(name, options)
    if errors:
        raise ConfigurationError(f"population-args: {name}: {line}" for line in errors)
    own = SPREADS[name].model_fields
    return Population(
        PopulationOptions.model_validate({k: v for k, v in options.items() if k not in own}),
        SPREADS[name].model_validate({k: v for k, v in options.items() if k in own}),
        seed,
        labels,
    )


@functools.cache
def _joint_options(name: str) -> type[BaseModel]:
    """Return the options of all populations and of one spread as one, to find all errors."""
    return create_model(f"population-{name}", __base__=(PopulationOptions, SPREADS[name]))
