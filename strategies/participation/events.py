"""A recorded past by the second: a file says at which second who came and who went."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from models.errors import ConfigurationError, one_line
from strategies.participation.base import CommonOptions, Model
from strategies.participation.trace import Strangers, TraceFile, read_table
from strategies.transport.roster import Client

COLUMNS = ("client", "second", "event")
_EVENTS = {"on": True, "off": False}
_MOST_SHOWN = 20


class EventOptions(CommonOptions):
    """Where the trace lies."""

    file: TraceFile = Field(
        default="", description="Absolute path of a CSV file with the columns client,second,event."
    )


class Events(Model):
    """Whoever the file names is there from an ``on`` to the next ``off``; nobody else ever is.

    A round of the model is a second: round 1 is second 0. It makes sense on a virtual clock only.

    Parameters
    ----------
    options : EventOptions
    seed : int
        Only drop-out is drawn.

    Raises
    ------
    ConfigurationError
        If the file cannot be read; one line for each wrong line of it.
    """

    about: ClassVar[str] = "a file says at which second who came and went (virtual clock)"
    Options: ClassVar[type[CommonOptions]] = EventOptions
    tick: ClassVar[float] = 1.0

    def __init__(self, options: EventOptions, seed: int) -> None:
        super().__init__(options, seed)
        file = Path(options.file)
        self._changes = read_events(file)
        self._strangers = Strangers(file, self._changes)
        self._all = sorted({second for changes in self._changes.values() for second in changes})

    def is_there(self, server_round: int, client: Client) -> bool:
        seconds = self._changes.get(client.id, ())
        # Changes alternate, beginning with a coming.
        return bisect_right(seconds, server_round - 1) % 2 == 1

    def availability(self, client: Client) -> None:
        """Return None: a past of finite length has no long run."""

    def available(self, server_round: int, clients: Sequence[Client]) -> frozenset[str]:
        """Return the ids of those who are there when the round begins."""
        self._strangers.tell(clients)
        return super().available(server_round, clients)

    def moment(self, server_round: int) -> int:
        """Return how many seconds with comings or goings there were."""
        return bisect_right(self._all, server_round - 1)

    def stays(self, first: int, last: int, client: Client) -> bool:
        """Say whether a client is there in all rounds from `first` to `last`."""
        seconds = self._changes.get(client.id, ())
        place = bisect_right(seconds, first - 1)
        return place % 2 == 1 and place == bisect_right(seconds, last - 1)

    def next_change(self, server_round: int) -> int | None:
        """Return the next round in which somebody comes or goes; None if that was all."""
        place = bisect_right(self._all, server_round - 1)
        return self._all[place] + 1 if place < len(self._all) else None


def read_events(file: Path) -> Mapping[str, tuple[int, ...]]:
    """Read a trace: a CSV file with the columns ``client``, ``second`` and ``event``.

    Parameters
    ----------
    file : Path
        Seconds are whole and count from 0; an event is ``on`` or ``off``. Lines of one client
        need no order; other columns are not read.

    Returns
    -------
    mapping of str to tuple of int
        Each client's seconds of coming, going, coming, ...; who was there already, or went
        already, is passed over.

    Raises
    ------
    ConfigurationError
        If the file cannot be read; one line for each wrong line, with its number, or for a client
        that comes and goes at one second.
    """
    told: dict[str, dict[int, bool]] = {}
    errors: list[str] = []
    for client, (second, there) in read_table(file, COLUMNS, _read_row):
        if told.setdefault(client, {}).setdefault(second, there) != there:
            errors.append(
                f"participation trace '{file}': '{one_line(client, 80)}' comes and goes at second "
                f"{second}; give the two events seconds of their own"
            )
    if errors:
        raise ConfigurationError(errors[:_MOST_SHOWN])
    changes: dict[str, tuple[int, ...]] = {}
    for client, events in told.items():
        seconds: list[int] = []
        for second, there in sorted(events.items()):
            if there == (len(seconds) % 2 == 0):
                seconds.append(second)
        changes[client] = tuple(seconds)
    return changes


def _read_row(second: str, event: str) -> tuple[int, bool]:
    if not second.isascii() or not second.isdecimal() or len(second) > 18:
        raise ValueError(f"second = '{second[:40]}'; allowed: a whole number from 0")
    if event not in _EVENTS:
        raise ValueError(f"event = '{event[:40]}'; allowed: on, off")
    return int(second), _EVENTS[event]
