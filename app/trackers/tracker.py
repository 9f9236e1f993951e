"""What a tracker is: three calls, fed by `app.trackers.tracking.Tracking` alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from app.settings import FlatValue


@dataclass(frozen=True)
class TrackedRun:
    """A run as trackers know it.

    Attributes
    ----------
    folder : Path
        The run directory.
    uid : str
        The run directory's own id; a resumed run keeps it.
    name : str
    settings : mapping
        As in ``config.toml``: kebab-case keys, scalars, secrets replaced by ``***``.
    tags : mapping of str to str
        Method and data.
    """

    folder: Path
    uid: str
    name: str
    settings: Mapping[str, FlatValue]
    tags: Mapping[str, str]


@dataclass(frozen=True)
class Ending:
    """How a run ended.

    Attributes
    ----------
    state : str
        ``finished``, ``failed`` or ``stopped``, as in ``status.json``.
    table : str
        The final table as plain text; empty if not finished.
    adapter : str
        Where the adapter lies; empty if there is none.
    """

    state: str
    table: str = ""
    adapter: str = ""

    @property
    def facts(self) -> dict[str, str]:
        """State, and place of the adapter where there is one."""
        return {"status": self.state} | ({"adapter": self.adapter} if self.adapter else {})


class Tracker(Protocol):
    """Writes the numbers of one run somewhere; any call may fail, and ends nothing by that."""

    def start(self, run: TrackedRun, kept: int) -> int:
        """Open the run, or open it again.

        Parameters
        ----------
        run : TrackedRun
        kept : int
            The newest round that the run goes on after; -1 at the beginning.

        Returns
        -------
        int
            The newest round that is written already and stays; -1 for none.
        """

    def round(self, number: int, scalars: Mapping[str, float]) -> None:
        """Write one round's numbers, so that they outlive the process."""

    def end(self, ending: Ending) -> None:
        """Say how the run ended, and close it."""
