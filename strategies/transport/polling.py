"""Waiting for replies without Flower's three-second sleeps."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator

from flwr.app import Message
from flwr.serverapp import Grid

_FIRST, _GROWTH = 0.005, 1.1


class Poller:
    """Sleeps between polls: short at first, longer the longer nothing comes.

    Parameters
    ----------
    longest : float
        Seconds. A poll of a real SuperLink is a request over the network; in simulation it is
        almost free.
    first : float
        Seconds of the first sleep.
    share : float
        A sleep takes at least so many times what the poll before it took, at most a second: on a
        busy machine polls must not starve those who work.
    """

    def __init__(self, longest: float = 0.1, first: float = _FIRST, share: float = 0.0) -> None:
        self._share = share
        self._first = self._pause = first
        self._longest = longest
        self._woke = time.monotonic()

    def rest(self, deadline: float) -> None:
        """Sleep until the next poll, at most until `deadline` (monotonic seconds)."""
        now = time.monotonic()
        pause = max(self._pause, min(1.0, self._share * (now - self._woke)))
        time.sleep(max(0.0, min(pause, deadline - now)))
        self._pause = min(self._pause * _GROWTH, self._longest)
        self._woke = time.monotonic()

    def reset(self) -> None:
        """Something came: poll quickly again."""
        self._pause = self._first
        self._woke = time.monotonic()


def pull_all(grid: Grid, message_ids: Collection[str], deadline: float) -> Iterator[Message]:
    """Yield the reply to each message once, until all are in or time is up."""
    waiting = set(message_ids)
    poller = Poller()
    while waiting:
        came = False
        for message in grid.pull_messages(list(waiting)):
            asked = message.metadata.reply_to_message_id
            if asked in waiting:
                waiting.discard(asked)
                came = True
                yield message
        if came:
            poller.reset()
        elif time.monotonic() >= deadline:
            return
        else:
            poller.rest(deadline)
