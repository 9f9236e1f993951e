"""The one place that feeds trackers."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from logging import WARNING
from typing import cast

from flwr.supercore import log

from app.settings.secrets import mask_shapes
from app.trackers.scalars import scalars_of
from app.trackers.tracker import Ending, TrackedRun, Tracker
from models.errors import one_line

_ENVIRONMENT = {
    # They report their use to their makers unless told not to, and MLflow would hold a round up
    # for minutes while its server is away.
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "WANDB_ERROR_REPORTING": "false",
}
"""What trackers' packages read when they are loaded; what is set already stays."""


def _load(name: str) -> Tracker:
    """Load a tracker's file, and with it the package it needs."""
    for variable, value in _ENVIRONMENT.items():
        os.environ.setdefault(variable, value)
    return cast("Tracker", import_module(f"app.trackers.{name}").TRACKER())


@dataclass
class _Fed:
    name: str
    tracker: Tracker
    newest: int


class Tracking:
    """Feeds a run's trackers; one that fails is named once and left out, and the run goes on.

    Parameters
    ----------
    names : iterable of str
        Of `app.trackers.names.TRACKERS`.
    run : TrackedRun
    """

    def __init__(self, names: Iterable[str], run: TrackedRun) -> None:
        self._names = tuple(names)
        self._run = run
        self._fed: list[_Fed] = []

    def start(self, lines: Sequence[str]) -> None:
        """Open the trackers and write the rounds that they lack.

        Parameters
        ----------
        lines : sequence of str
            Of ``metrics.jsonl``: the rounds that a resumed run goes on after; empty for a new one.
        """
        kept = int(json.loads(lines[-1])["round"]) if lines else -1
        for name in self._names:
            self._guarded(name, partial(self._open, name, kept))
        for line in lines:
            self.round(line)

    def _open(self, name: str, kept: int) -> None:
        tracker = _load(name)
        self._fed.append(_Fed(name, tracker, tracker.start(self._run, kept)))

    def round(self, line: str) -> None:
        """Write one round, a line of ``metrics.jsonl``, where it is not written yet."""
        values = json.loads(line)
        number, scalars = int(values["round"]), scalars_of(values)
        for fed in tuple(self._fed):
            if number > fed.newest:
                self._guarded(fed.name, partial(fed.tracker.round, number, scalars))
                fed.newest = number

    def end(self, ending: Ending) -> None:
        """Say how the run ended; only the first call says anything."""
        over, self._fed = self._fed, []
        for fed in over:
            self._guarded(fed.name, partial(fed.tracker.end, ending))

    def _guarded(self, name: str, act: Callable[[], None]) -> None:
        """Call a tracker; whatever it raises costs its own numbers only."""
        try:
            act()
        except Exception as error:
            self._fed = [fed for fed in self._fed if fed.name != name]
            reason = mask_shapes(one_line(f"{type(error).__name__}: {error}"))
            log(
                WARNING,
                "tracker '%s' failed and is left out; the run goes on, and resume=true writes "
                "what is missing: %s",
                name,
                reason,
            )
