"""How slowness is spread over clients: how many times as long as `speed` says a device takes.

Each spread is the quantile function of a distribution, so that a client's place in it may be drawn
or be tied to what its data are.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from statistics import NormalDist
from types import MappingProxyType
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

_EDGE = 1e-12  # a quantile of 0 or 1 may be infinite


class Slowness(BaseModel, ABC):
    """Base of all spreads: options and the rule.

    Attributes
    ----------
    about : str
        One line for people.
    """

    about: ClassVar[str] = ""
    model_config = ConfigDict(frozen=True, extra="forbid")

    @abstractmethod
    def at(self, place: float) -> float:
        """Return the slowness, above 0, of the device at a place of [0, 1): 0 is the fastest."""


class Same(Slowness):
    """Every device takes as long."""

    about: ClassVar[str] = "all devices are alike"

    def at(self, place: float) -> float:
        return 1.0


class Uniform(Slowness):
    """Evenly between low and high."""

    about: ClassVar[str] = "times evenly spread between low and high times that of speed"
    low: float = Field(default=1.0, gt=0, description="Slowness of the fastest.")
    high: float = Field(default=4.0, gt=0, description="Slowness of the slowest, at least low.")

    @field_validator("high")
    @classmethod
    def _not_below_low(cls, value: float, info: ValidationInfo) -> float:
        if value < info.data.get("low", 0.0):
            raise ValueError(f"must be at least low = {info.data['low']:g}")
        return value

    def at(self, place: float) -> float:
        return self.low + (self.high - self.low) * place


class LogNormal(Slowness):
    """exp(sigma z) with z standard normal: the median device has `speed`."""

    about: ClassVar[str] = "many devices about as fast, some much faster, some much slower"
    sigma: float = Field(default=0.7, ge=0, le=5, description="Deviation of the logarithm.")

    def at(self, place: float) -> float:
        return math.exp(self.sigma * normal(place))


class Pareto(Slowness):
    """(1 - place)^(-1/shape), at least 1: the fastest device has `speed`, few are very slow.

    Below a shape of 1 the mean time does not exist; below 2 its variance does not.
    """

    about: ClassVar[str] = "a long tail: few devices are very much slower than the rest"
    shape: float = Field(default=1.5, gt=0.1, le=100, description="Small = a longer tail.")

    def at(self, place: float) -> float:
        return float((1 - min(place, 1 - _EDGE)) ** (-1 / self.shape))


class TwoTier(Slowness):
    """A share of the devices takes `slow` times as long as the others."""

    about: ClassVar[str] = "fast devices, and a share that is slow times as slow"
    slow: float = Field(default=10.0, ge=1, description="How many times as long the slow take.")
    share: float = Field(default=0.3, ge=0, le=1, description="Share of the slow.")

    def at(self, place: float) -> float:
        return self.slow if place >= 1 - self.share else 1.0


def normal(place: float) -> float:
    """Return the standard normal quantile of a place in [0, 1)."""
    return NormalDist().inv_cdf(min(max(place, _EDGE), 1 - _EDGE))


SPREADS: Mapping[str, type[Slowness]] = MappingProxyType(
    {
        "same": Same,
        "uniform": Uniform,
        "log-normal": LogNormal,
        "pareto": Pareto,
        "two-tier": TwoTier,
    }
)
"""Every spread by its name in ``population``."""
