"""How availability is spread over clients: each client's own probability p_i.

Every p_i is a function of the seed, the client and the labels of the task, so it is the same
whoever else takes part. Shared by the models that have a probability.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from models.randomness import derive_generator
from strategies.participation.base import chance, main_label, number_of
from strategies.transport.roster import Client


class Spread(BaseModel, ABC):
    """Base of all spreads: options and the rule.

    Attributes
    ----------
    about : str
        One line for people.
    by_label : bool
        Whether it needs the labels of the task.
    """

    about: ClassVar[str] = ""
    by_label: ClassVar[bool] = False
    model_config = ConfigDict(frozen=True, extra="forbid")

    @abstractmethod
    def probability(self, client: Client, seed: int, labels: Sequence[str]) -> float:
        """Return one client's p_i, in [0, 1].

        Parameters
        ----------
        client : Client
        seed : int
            The run's seed.
        labels : sequence of str
            All labels of the task, in order; empty only if not `by_label`.
        """


class Same(Spread):
    """One p for all."""

    about: ClassVar[str] = "one p for all"
    p: float = Field(default=0.5, gt=0, le=1, description="Probability of being there.")

    def probability(self, client: Client, seed: int, labels: Sequence[str]) -> float:
        return self.p


class _Range(Spread):
    low: float = Field(default=0.1, ge=0, le=1, description="Smallest probability.")
    high: float = Field(default=1.0, gt=0, le=1, description="Largest probability, at least low.")

    @field_validator("high")
    @classmethod
    def _not_below_low(cls, value: float, info: ValidationInfo) -> float:
        if value < info.data.get("low", 0.0):
            raise ValueError(f"must be at least low = {info.data['low']:g}")
        return value


class Uniform(_Range):
    """p_i uniform in [low, high], a draw a client."""

    about: ClassVar[str] = "each client draws its own p between low and high"

    def probability(self, client: Client, seed: int, labels: Sequence[str]) -> float:
        return self.low + (self.high - self.low) * chance(seed, "participation", "p", client.id)


class TwoGroups(_Range):
    """Half of the clients are there with probability high, the slow half with low.

    Who is slow is told from the number at the end of a client's id; a client without one draws.
    """

    about: ClassVar[str] = "some clients are there with probability high, the slow ones with low"
    slow: str = Field(
        default="odd",
        pattern=r"^(odd|even|random|from-\d+)$",
        description="Who is slow, by the number in a client's id: odd, even, from-12; or random.",
    )

    def probability(self, client: Client, seed: int, labels: Sequence[str]) -> float:
        return self.low if self._is_slow(client.id, seed) else self.high

    def _is_slow(self, client: str, seed: int) -> bool:
        number = number_of(client)
        if self.slow == "random" or number is None:
            return chance(seed, "participation", "slow", client) < 0.5
        if self.slow.startswith("from-"):
            return number >= int(self.slow.removeprefix("from-"))
        return number % 2 == (1 if self.slow == "odd" else 0)


class ByClass(Spread):
    """Availability tied to classes, the rule of FedAU (https://arxiv.org/abs/2306.03401).

    ``p_i = max(minimum, mean * C * <r_i, q>)``, at most 1, with r_i the client's distribution over
    the C labels and q one draw of Dirichlet(alpha) over them. `mean` is thus the expectation over
    draws of q before the minimum; one draw's own mean differs. A client that does not share its
    label counts has that expectation.
    """

    about: ClassVar[str] = "tied to classes: some labels' clients are rarely there"
    by_label: ClassVar[bool] = True
    alpha: float = Field(
        default=0.1, gt=0, le=1e6, description="Concentration; small = very uneven."
    )
    mean: float = Field(default=0.1, gt=0, le=1, description="Mean probability over draws.")
    minimum: float = Field(default=0.02, ge=0, le=1, description="Smallest probability.")

    def probability(self, client: Client, seed: int, labels: Sequence[str]) -> float:
        counts = client.label_counts
        total = sum(counts.values()) if counts else 0
        if not counts or not total:
            return max(self.minimum, self.mean)
        generator = derive_generator(seed, "participation", "classes")
        q = dict(zip(labels, generator.dirichlet([self.alpha] * len(labels)), strict=True))
        share = sum(n / total * float(q.get(label, 0.0)) for label, n in counts.items())
        return min(1.0, max(self.minimum, self.mean * len(labels) * share))


class ByMainLabel(_Range):
    """Availability by a client's most frequent label: the first label has high, the last low.

    Labels between lie evenly between; of labels equally frequent the first counts. A client that
    does not share its label counts has the mean of low and high.
    """

    about: ClassVar[str] = "by a client's main label, from high (first label) to low (last)"
    by_label: ClassVar[bool] = True

    def probability(self, client: Client, seed: int, labels: Sequence[str]) -> float:
        place = main_label(client, labels)
        if place is None:
            return (self.low + self.high) / 2
        return self.high - (self.high - self.low) * place / max(1, len(labels) - 1)


class ByGroup(_Range):
    """Availability by a column of groups: each group draws its p between low and high.

    A client with several groups has the mean of theirs; one without the column draws its own.
    """

    about: ClassVar[str] = "each group of a group column draws its own p between low and high"
    model_config = ConfigDict(validate_default=True)
    column: str = Field(default="", description="The group column; needed, one of group-columns.")

    @field_validator("column")
    @classmethod
    def _named(cls, value: str) -> str:
        if not value:
            raise ValueError("must name a group column, one of group-columns")
        return value

    def probability(self, client: Client, seed: int, labels: Sequence[str]) -> float:
        groups = client.groups.get(self.column)
        if not groups:
            return self._draw(seed, "p", client.id)
        draws = [self._draw(seed, "group", self.column, group) for group in groups]
        return sum(draws) / len(draws)

    def _draw(self, seed: int, *purpose: str) -> float:
        return self.low + (self.high - self.low) * chance(seed, "participation", *purpose)


SPREADS: Mapping[str, type[Spread]] = MappingProxyType(
    {
        "same": Same,
        "uniform": Uniform,
        "two-groups": TwoGroups,
        "dirichlet": ByClass,
        "label-group": ByMainLabel,
        "group": ByGroup,
    }
)
"""Every spread by its name in ``participation-args``."""
