"""Packs on their way: what may leave now, what was lost, what waits for its turn."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from strategies.transport.exchange import Action, Rejection, Reply, Request
from strategies.transport.packing import Pack

Loss = Literal["unusable", "failed", "untouched"]
"""The worker lives and what it said is of no use; it died or failed; it was dead before."""

_WORKERS_A_PACK = 2
"""What kills one worker may kill them all."""
_PROBES = 5
"""After so many without any answer there is no living worker."""


@dataclass(frozen=True)
class Parcel:
    """A pack, its place among its node's packs, and what it is asked in which round."""

    number: int
    pack: Pack
    action: Action
    server_round: int


@dataclass
class Lane:
    """One node's packs: those to send, those under way, those answered but not their turn.

    Attributes
    ----------
    packs : deque of Parcel
        Never sent so far.
    window : int
        Most packs that are under way or wait for their turn.
    under_way : dict
        By message id, with what each client was asked.
    lost : deque of Parcel
        To be sent again.
    answered : dict
        By number.
    given : int
        The number whose turn it is.
    """

    packs: deque[Parcel]
    window: int
    under_way: dict[str, tuple[Parcel, Mapping[str, Request]]] = field(default_factory=dict)
    lost: deque[Parcel] = field(default_factory=deque)
    answered: dict[int, list[Reply | Rejection]] = field(default_factory=dict)
    given: int = 0

    @property
    def done(self) -> bool:
        """Whether every pack was answered and given."""
        return not (self.packs or self.under_way or self.lost or self.answered)

    @property
    def has_room(self) -> bool:
        """Answers that wait for their turn count too, so memory stays bounded."""
        return bool(self.packs) and self.packs[0].number - self.given < self.window

    def in_turn(self) -> Iterator[Reply | Rejection]:
        """Yield the answers whose turn has come."""
        while self.given in self.answered:
            answers = self.answered.pop(self.given)
            self.given += 1
            yield from answers

    def late(self, server_round: int, timeout: float) -> Iterator[Reply | Rejection]:
        """Yield what is left when time is up: answers first, then who did not answer."""
        sent = [parcel for parcel, _ in self.under_way.values()]
        silent = sorted((*sent, *self.lost), key=lambda parcel: parcel.number)
        for number in sorted(self.answered):
            yield from self.answered[number]
        for parcel in (*silent, *self.packs):
            for client in parcel.pack.clients:
                yield Rejection(client, server_round, "timeout", f"no answer in {timeout:g} s")


class Pool:
    """Lanes whose nodes share workers, and the order in which their packs leave.

    As long as no worker is lost, every lane fills its window. Flower's simulation hands out the
    worker that came back last, and a dead one comes back at once: while the others work it takes
    every message. So after a loss a pack leaves for each one that came back well, because then
    a living worker is the first in line; and where nothing is under way two leave at once, to two
    nodes: one for the dead worker, one for a living one.

    Parameters
    ----------
    lanes : sequence of Lane
    shared : bool
        Whether the lanes' nodes share workers (simulation).

    Attributes
    ----------
    company : set of str
        Ids of messages under way whose only use is that a worker has them.
    """

    def __init__(self, lanes: Sequence[Lane], shared: bool) -> None:
        self.lanes = lanes
        self.company: set[str] = set()
        self._shared = shared
        self._worked_on: Counter[tuple[int, int]] = Counter()
        # Messages that may leave now; None while no worker was lost.
        self._free: int | None = None
        self._probes = 0
        self._lonely = False

    def leaving(self) -> Iterator[tuple[Lane, Parcel]]:
        """Yield what is to be sent now; the caller puts each under way before it takes the next."""
        if self._free is None:
            for lane in self.lanes:
                while lane.lost or lane.has_room:
                    yield lane, (lane.lost or lane.packs).popleft()
            return
        quiet = not (self.company or any(lane.under_way for lane in self.lanes))
        probing = quiet and not self._free
        self._probes += probing
        left = free = 2 if probing else self._free
        while left:
            ready = [lane for lane in self.lanes if lane.lost or lane.has_room]
            if probing:
                # Messages to one node leave one after the other: the dead worker takes them all.
                ready = [lane for lane in ready if not lane.under_way]
            if not ready:
                break
            lane = min(ready, key=lambda lane: (len(lane.under_way), not lane.lost))
            left -= 1
            yield lane, (lane.lost or lane.packs).popleft()
        self._free = 0 if probing else left
        self._lonely = probing and free - left == 1

    def company_for(self) -> int | None:
        """Return the node of a pack that had to leave alone, once; another message would help."""
        if not self._lonely:
            return None
        self._lonely = False
        (lane,) = (lane for lane in self.lanes if lane.under_way)
        ((parcel, _),) = lane.under_way.values()
        return parcel.pack.node.id

    def came_back(self) -> None:
        """Note that a message was worked on and its worker lives: another may leave."""
        self._probes = 0
        if self._free is not None:
            self._free += 1

    def accompanied(self, message_id: str, *, well: bool) -> None:
        """Note that a message came back whose only use was that a worker had it."""
        if message_id in self.company and well:
            self.came_back()
        self.company.discard(message_id)

    def lose(self, lane: Lane, parcel: Parcel, how: Loss) -> bool:
        """Note that a pack came to nothing.

        Returns
        -------
        bool
            Whether it is sent again; False where two workers had it, or none is left.
        """
        key = (parcel.pack.node.id, parcel.number)
        self._worked_on[key] += how != "untouched"
        if how != "unusable" and self._shared and self._free is None:
            self._free = 0
        if self._worked_on[key] >= _WORKERS_A_PACK or self._probes >= _PROBES:
            return False
        lane.lost.append(parcel)
        return True
