"""On and off: whoever is there stays a while, whoever left stays away a while.

Client i has two states. Per round it leaves with probability a_i and joins with probability b_i,
in balance with p_i: ``p_i = b_i / (a_i + b_i)``. It starts in that balance, so the share of rounds
with it is p_i from the first round on. Where the wanted speed is impossible (b_i or a_i above 1),
that one is 1 and the other follows from p_i; FedAU's benchmark does the same
(https://arxiv.org/abs/2306.03401).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field, ValidationInfo, field_validator

from strategies.participation.base import CommonOptions
from strategies.participation.rated import Rated
from strategies.participation.spreads import Spread
from strategies.transport.roster import Client

_STAY = 5.0


class MarkovOptions(CommonOptions):
    """How fast clients come and go; give one of the two."""

    stay: float | None = Field(
        default=None, ge=1, description=f"Mean rounds that a client stays, {_STAY:g} if not given."
    )
    join: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Probability per round of coming back, in place of stay.",
    )

    @field_validator("join")
    @classmethod
    def _one_of_two(cls, value: float | None, info: ValidationInfo) -> float | None:
        if value is not None and info.data.get("stay") is not None:
            raise ValueError("stay is given too; give one of the two, the other follows from p")
        return value


class Markov(Rated):
    """Two states a client, in balance from the first round on."""

    about: ClassVar[str] = "clients come, stay a while, and stay away a while"
    Options: ClassVar[type[CommonOptions]] = MarkovOptions
    options: MarkovOptions

    def __init__(
        self, options: CommonOptions, seed: int, spread: Spread, labels: Sequence[str] = ()
    ) -> None:
        super().__init__(options, seed, spread, labels)
        self._last: dict[str, tuple[float, int, bool]] = {}

    def rates(self, p: float) -> tuple[float, float]:
        """Return (a, b): the probabilities per round of leaving and of joining.

        Parameters
        ----------
        p : float
            Long-run share of rounds, in [0, 1].
        """
        if p >= 1 or p <= 0:
            return (0.0, 1.0) if p >= 1 else (1.0, 0.0)
        odds = p / (1 - p)
        if self.options.join is not None:
            leave, join = self.options.join / odds, self.options.join
        else:
            leave = 1 / (self.options.stay or _STAY)
            join = leave * odds
        fastest = max(leave, join, 1.0)
        return leave / fastest, join / fastest

    def is_there(self, server_round: int, client: Client) -> bool:
        # One number u a round decides for both states. Where it sends both to the same one the
        # past is forgotten, so looking back that far is enough: nothing needs to be stored, and
        # a resumed run repeats itself. The last answer only shortens the way back.
        p = self.share(client)
        leave, join = self.rates(p)
        if_there, if_away = 1 - leave, join
        known = self._last.get(client.id)
        turned = there = False
        for past in range(server_round, 0, -1):
            if known is not None and known[:2] == (p, past):
                there = known[2]
                break
            u = self.chance(past, client.id)
            if past == 1:
                there = u < p
            elif u < min(if_there, if_away):
                there = True
                break
            elif u >= max(if_there, if_away):
                break
            else:
                turned ^= if_there < if_away
        self._last[client.id] = (p, server_round, there ^ turned)
        return there ^ turned
