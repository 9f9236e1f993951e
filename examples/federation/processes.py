"""Long-running commands that are started together and ended together."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

_STOP_SECONDS = 15.0


class Processes:
    """Commands, each with its children in a process group of its own.

    A Ctrl-C at the terminal thus reaches none of them, and they are ended in order.

    Parameters
    ----------
    logs : Path
        Folder; a command writes to ``NAME.log``.
    env : mapping
        Their environment.
    """

    def __init__(self, logs: Path, env: Mapping[str, str]) -> None:
        self._logs = logs
        self._env = dict(env)
        self._started: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, command: Sequence[str], **env: str) -> None:
        """Start a command; `env` is added to its environment."""
        with (self._logs / f"{name}.log").open("wb") as log:
            self._started[name] = subprocess.Popen(
                command,
                env={**self._env, **env},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def ids(self) -> Mapping[str, int]:
        """Process ids by name, in the order of their start."""
        return {name: process.pid for name, process in self._started.items()}

    def ended(self, name: str) -> bool:
        """Say whether a command is not running any more."""
        return self._started[name].poll() is not None

    def check(self, names: Collection[str] = ()) -> None:
        """Look after commands, all by default.

        Raises
        ------
        RuntimeError
            One is not running any more; says which and where its log is.
        """
        for name in names or self._started:
            if self.ended(name):
                raise RuntimeError(f"{name} ended; see {self._logs / name}.log")

    def stop(self) -> None:
        """End all, the last started first: politely, then for good."""
        for name in reversed(self._started):
            process = self._started[name]
            _end_group(process, signal.SIGTERM)
            _end_group(process, signal.SIGKILL)
        self._started.clear()


def _end_group(process: subprocess.Popen[bytes], kind: signal.Signals) -> None:
    """Send a signal to a command and its children, and wait until none is left."""
    deadline = time.monotonic() + _STOP_SECONDS
    try:
        os.killpg(process.pid, kind)
        while time.monotonic() < deadline:
            process.poll()
            os.killpg(process.pid, 0)
            time.sleep(0.05)
    except ProcessLookupError:
        process.wait()
