"""The folder of a run: its lock, settings, status and progress, written atomically."""

from __future__ import annotations

import csv
import fcntl
import io
import json
import os
import shutil
import socket
import time
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO
from uuid import uuid4

import tomli_w

from app.settings import Settings
from models.checkpoint import COMPANIONS
from models.errors import BouquetError, ConfigurationError, RunDirectoryError
from models.files import write_json, write_text
from strategies.transport.roster import Roster

ARTIFACTS = "artifacts.safetensors"
DRIFT_COLUMNS = ("slot", "first_round", "client", "concept", "degrees", "drift")
STOPPED = 8
"""Exit code of a run that a signal ended."""

# Settings that say how a run is carried out, not what it computes.
MAY_CHANGE = frozenset(
    {
        "baselines",
        "checkpoint-every",
        "checkpoint-keep",
        "collect-personal",
        "node-wait-timeout",
        "num-server-rounds",
        "pack-bytes",
        "quorum",
        "resume",
        "round-timeout",
        "state-dir",
        "threads",
        "trackers",
    }
)


class RunDirectory:
    """One run's folder.

    Parameters
    ----------
    path : Path
        Absolute.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._began = time.time()
        self._over = False

    @contextmanager
    def opened(self, settings: Settings) -> Iterator[None]:
        """Make the folder, or with ``resume`` find it again, and keep every other server out.

        Raises
        ------
        RunDirectoryError
            There is a run of that name already, or none to resume, or another server has it.
        ConfigurationError
            The run to resume had other settings.
        """
        if settings.resume:
            self._check_same(settings)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            handle = (self.path / "lock").open("a+")
        except OSError as error:
            raise RunDirectoryError(f"cannot write to '{self.path}': {error.strerror}") from error
        with handle:
            self._lock(handle)
            self._begin(settings)
            yield

    def _lock(self, handle: IO[str]) -> None:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            handle.seek(0)
            holder = handle.read().strip() or "unknown"
            raise RunDirectoryError(
                f"'{self.path}' is in use by another server ({holder}); "
                "end that one first, or choose another run-name"
            ) from None
        handle.truncate(0)
        handle.write(f"pid {os.getpid()} on {socket.gethostname()}\n")
        handle.flush()

    def _check_same(self, settings: Settings) -> None:
        """Refuse to continue a run under settings that would make it another one."""
        file = self.path / "config.toml"
        if not file.is_file():
            raise RunDirectoryError(f"there is no run to resume in '{self.path}'")
        before, now = tomllib.loads(file.read_text()), settings.to_flat()
        changed = [
            f"{key} = {now[key]!r}: the run to resume had {before[key]!r}"
            for key in now
            if key in before and before[key] != now[key] and key not in MAY_CHANGE
        ]
        if changed:
            raise ConfigurationError(changed)

    def _begin(self, settings: Settings) -> None:
        if not settings.resume and (self.path / "metrics.jsonl").exists():
            raise RunDirectoryError(
                f"'{self.path}' holds a run already: choose another run-name, "
                "or continue it with resume=true"
            )
        try:
            write_text(self.path / "config.toml", tomli_w.dumps(settings.to_flat()))
            if not (self.path / "uid").exists():
                write_text(self.path / "uid", uuid4().hex + "\n")
        except OSError as error:
            raise RunDirectoryError(f"cannot write to '{self.path}': {error.strerror}") from error
        self.status("running", 0, "")

    @property
    def uid(self) -> str:
        """The run's own id, which outlives Flower's."""
        return (self.path / "uid").read_text().strip()

    def status(self, state: str, code: int, message: str) -> None:
        """Write ``status.json``: state, exit code, message, times; nothing after the run's end."""
        if self._over:
            return
        self._over = state != "running"
        write_json(
            self.path / "status.json",
            {
                "state": state,
                "code": code,
                "message": message,
                "started": datetime.fromtimestamp(self._began, UTC).isoformat(timespec="seconds"),
                "updated": datetime.now(UTC).isoformat(timespec="seconds"),
            },
        )

    def failed(self, error: BaseException) -> None:
        """Write how the run failed."""
        code = error.code if isinstance(error, BouquetError) else 1
        text = str(error) if isinstance(error, BouquetError) else f"{type(error).__name__}: {error}"
        self.status("failed", code, text)

    def stopped(self) -> None:
        """Write that a signal ended the run; what was saved after the last round stays."""
        advice = "continue with the same run-name and resume=true"
        self.status("stopped", STOPPED, f"stopped by a signal; {advice}")

    def progress(self, server_round: int, rounds: int, action: str, done: int, asked: int) -> None:
        """Write how far the current round is."""
        now = {"round": server_round, "rounds": rounds, "action": action, "done": done}
        text = json.dumps({**now, "asked": asked})
        write_text(self.path / "progress.json", text, durable=False)

    def write_labels(self, labels: tuple[str, ...], roster: Roster, own_data: bool) -> None:
        """Write the label counts of the clients that share them, and whose the data are."""
        counts = {c.id: dict(c.label_counts) for c in roster if c.label_counts is not None}
        value = {"labels": list(labels), "clients": counts, "own_data": own_data}
        write_json(self.path / "labels.json", value)

    def write_models(self, own: tuple[str, str], adapter_bytes: int | None, roster: Roster) -> None:
        """Write the base model and, where clients have others, which.

        Parameters
        ----------
        own : tuple of (str, str)
            The run's model and its fingerprint.
        adapter_bytes : int or None
            Of the whole adapter on the wire, once; None where the server has no model.
        roster : Roster
        """
        clients: dict[str, list[str]] = {}
        for client in roster:
            clients.setdefault(client.variant or own[0], []).append(client.id)
        value: dict[str, object] = {
            "model": own[0],
            "base": own[1],
            "adapter_bytes": adapter_bytes,
        }
        if clients.keys() - {own[0]}:
            value["clients"] = clients
            value["adapters"] = "each client's own is on its node: STATE-DIR/personal/UID/CLIENT"
        write_json(self.path / "models.json", value)

    def write_drift(self, truth: Sequence[Sequence[object]]) -> None:
        """Write ``drift.csv``: what each client really saw in each slot."""
        out = io.StringIO()
        csv.writer(out, lineterminator="\n").writerows([DRIFT_COLUMNS, *truth])
        write_text(self.path / "drift.csv", out.getvalue())

    def keep_base(self, folder: Path, place: str = "base") -> Path:
        """Copy an embedded base, so that the adapter is usable from this folder alone."""
        target = self.path / place
        target.mkdir(parents=True, exist_ok=True)
        for file in folder.iterdir():
            if file.suffix in {".safetensors", *COMPANIONS}:
                shutil.copy2(file, target / file.name)
        return target
