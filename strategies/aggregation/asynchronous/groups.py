"""FedCompass's arrival groups: local steps by speed, so that clients arrive together.

Li et al., "FedCompass: Efficient Cross-Silo Federated Learning on Heterogeneous Client Devices
using a Computing Power Aware Scheduler", ICLR 2024, https://arxiv.org/abs/2309.14675. T_i is how
many seconds a step takes on client i, T_g when group g is expected, T_g^max when it is waited for
no longer:

    join:    Q_i = floor((T_g - now) / T_i) for every open group; of those in [Q_min, Q_max] the
             largest, of equal ones the later group
    create:  Q_i = max over open groups of floor((T_g^max + Q_max min_{j in g} T_j - now) / T_i), of
             those up to Q_max; at least Q_min; Q_max where there is none
             T_g = now + Q_i T_i,   T_g^max = now + lambda Q_i T_i
    speed:   T_i <- 0.9 (seconds / steps) + 0.1 T_i

Q_i that a client creates a group with is such that it is back when the next group of those who wait
for T_g^max would be.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection
from dataclasses import asdict, dataclass, field

MOMENTUM = 0.9


@dataclass
class Group:
    """Clients who are expected at the same second.

    Attributes
    ----------
    expected, latest : float
        T_g and T_g^max.
    fastest : float
        The smallest T_i among all who joined.
    out : list of str
        Those who have not been aggregated.
    """

    expected: float
    latest: float
    fastest: float
    out: list[str] = field(default_factory=list)


class ArrivalGroups:
    """Who is expected when, and with how many steps.

    Parameters
    ----------
    q_min, q_max : int
        Fewest and most local steps.
    patience : float
        lambda, at least 1.
    """

    def __init__(self, q_min: int, q_max: int, patience: float) -> None:
        self.q_min, self.q_max, self.patience = q_min, q_max, patience
        self.speeds: dict[str, float] = {}
        self.steps: dict[str, int] = {}
        self.groups: dict[int, Group] = {}
        self._made = 0

    def assign(self, client: str, now: float) -> int:
        """Give a client its local steps, and a group where its speed is known; return the steps."""
        self.forget(client, speed=False)
        speed = self.speeds.get(client)
        if speed is None:
            steps = self.q_max
        else:
            chosen = self._joined(speed, now)
            if chosen is None:
                steps = self._created(speed, now)
            else:
                steps, group = chosen
                group.fastest = min(group.fastest, speed)
                group.out.append(client)
            if chosen is None:
                seconds = steps * speed
                latest = now + self.patience * seconds
                self.groups[self._made] = Group(now + seconds, latest, speed, [client])
                self._made += 1
        self.steps[client] = steps
        return steps

    def _joined(self, speed: float, now: float) -> tuple[int, Group] | None:
        best: tuple[int, Group] | None = None
        for group in self.groups.values():
            steps = math.floor((group.expected - now) / speed)
            if self.q_min <= steps <= self.q_max and (best is None or steps >= best[0]):
                best = steps, group
        return best

    def _created(self, speed: float, now: float) -> int:
        possible = [
            math.floor((group.latest + self.q_max * group.fastest - now) / speed)
            for group in self.groups.values()
            if now < group.latest
        ]
        fitting = [steps for steps in possible if 0 <= steps <= self.q_max]
        return max(self.q_min, *fitting) if fitting else self.q_max

    def due(self, waiting: Collection[str], now: float) -> list[str]:
        """Return the waiting clients to aggregate now.

        Those of complete groups, those of groups that are waited for no longer, and those in no
        open group: late ones, and those of unknown speed.
        """
        held: set[str] = set()
        for group in self.groups.values():
            there = [client for client in group.out if client in waiting]
            if now < group.latest and len(there) < len(group.out):
                held.update(there)
        return [client for client in waiting if client not in held]

    def latest(self, waiting: Collection[str]) -> float:
        """Return the first second at which somebody who waits is held up no longer, or inf."""
        seconds = [g.latest for g in self.groups.values() if any(c in waiting for c in g.out)]
        return min(seconds, default=math.inf)

    def aggregated(self, clients: Collection[str]) -> None:
        """Hear that updates went into the model: their groups are closed, who is out is late."""
        for number, group in list(self.groups.items()):
            if any(client in clients for client in group.out):
                del self.groups[number]

    def timed(self, client: str, seconds: float) -> None:
        """Hear how long a client took for its steps."""
        steps = self.steps.get(client)
        if steps is None or seconds <= 0:
            return
        speed, known = seconds / steps, self.speeds.get(client)
        self.speeds[client] = speed if known is None else MOMENTUM * speed + (1 - MOMENTUM) * known

    def forget(self, client: str, speed: bool = True) -> None:
        """Take a client out of its group, and its speed out of the memory."""
        if speed:
            self.speeds.pop(client, None)
            self.steps.pop(client, None)
        for number, group in list(self.groups.items()):
            if client in group.out:
                group.out.remove(client)
                if not group.out:
                    del self.groups[number]

    def to_json(self) -> str:
        """Return all there is, but for the three numbers it was made with."""
        groups = {str(number): asdict(group) for number, group in self.groups.items()}
        return json.dumps([self.speeds, self.steps, groups, self._made])

    def read(self, text: str) -> None:
        """Take `to_json`'s text back."""
        speeds, steps, groups, self._made = json.loads(text)
        self.speeds, self.steps = dict(speeds), dict(steps)
        self.groups = {int(number): Group(**group) for number, group in groups.items()}
