"""``flwr run`` as a child process, and what its end means."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import tomli_w

from models.errors import ConfigurationError

INTERRUPTED = 130
_FAILED = 1
_TAIL = 30
_PATIENCE_SECONDS = 5.0
_RUN_ID = re.compile(r"Successfully started run (\d+)")
_FINAL = ("finished", "failed", "stopped")
_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes
    ----------
    code : int
        Exit code; 0 only for a run that finished.
    message : str
        What to tell the person; empty for a run that finished without one.
    """

    code: int
    message: str


class FlowerProcess:
    """One ``flwr run APP [NAME] -c FILE --stream``, its output in a temporary log.

    It runs in a session of its own, so that Ctrl-C reaches us alone: the run goes on.

    Parameters
    ----------
    root : Path
        Folder of the app.
    config : mapping
        Run-config overrides; they may hold secrets, so the file is the user's alone and is
        removed at the end.
    superlink : str or None
        Name of the SuperLink connection; None takes Flower's default.
    federation_config : sequence of str
        Passed on as ``--federation-config``.
    environment : mapping, optional
        More environment variables.
    """

    def __init__(
        self,
        root: Path,
        config: Mapping[str, object],
        superlink: str | None,
        federation_config: Sequence[str],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        flwr = find_command("flwr")
        self._folder = tempfile.TemporaryDirectory(prefix="bouquet-")
        self._log = Path(self._folder.name) / "flwr.log"
        config_file = Path(self._folder.name) / "run.toml"
        config_file.write_text(tomli_w.dumps(config), encoding="utf-8")
        command = [flwr, "run", str(root), *([superlink] if superlink else [])]
        command += ["-c", str(config_file), "--stream"]
        for text in federation_config:
            command += ["--federation-config", text]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**flower_environment(), **(environment or {})},
            )

    def __enter__(self) -> Self:
        """Return the running process."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the follower, never the run, and remove the temporary files."""
        self.stop_following()
        self._folder.cleanup()

    @property
    def code(self) -> int | None:
        """Exit code of ``flwr run``, None while it goes on."""
        return self._process.poll()

    @property
    def run_id(self) -> str | None:
        """Flower's id of the run, once it is known."""
        match = _RUN_ID.search(self._text())
        return match[1] if match else None

    def tail(self) -> list[str]:
        """Return the last lines of the log, without colours."""
        return _ANSI.sub("", self._text()).splitlines()[-_TAIL:]

    def wait(self) -> int:
        """Wait until ``flwr run`` has ended, and return its exit code."""
        return self._process.wait()

    def stop_following(self) -> None:
        """End ``flwr run``; the run itself goes on in the SuperLink."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(timeout=_PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def _text(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")


@contextmanager
def ended_like_ctrl_c() -> Iterator[None]:
    """Let a request to end, and a terminal that closes, do within the block what Ctrl-C does."""
    kinds = (signal.SIGTERM, signal.SIGHUP) if hasattr(signal, "SIGHUP") else (signal.SIGTERM,)
    before = {kind: signal.getsignal(kind) for kind in kinds}
    # Who ignores one means it, as nohup does; only the main thread may handle signals.
    changed = [kind for kind in kinds if before[kind] is not signal.SIG_IGN]
    if threading.current_thread() is not threading.main_thread():
        changed = []
    for kind in changed:
        signal.signal(kind, signal.default_int_handler)
    try:
        yield
    finally:
        for kind in changed:
            signal.signal(kind, before[kind])


def is_final(status: Mapping[str, object] | None) -> bool:
    """Say whether a status.json tells of a run that has ended."""
    return status is not None and status.get("state") in _FINAL


def judge(
    status: Mapping[str, object] | None, flwr_code: int | None, superlink: str | None
) -> Outcome:
    """Say how a run ended; ``flwr run`` itself returns 0 even when the app failed.

    Parameters
    ----------
    status : mapping or None
        This run's status.json, None if it wrote none.
    flwr_code : int or None
        Exit code of ``flwr run``.
    superlink : str or None
        The SuperLink asked for, which may be on another machine.
    """
    if status is not None and is_final(status):
        message, code = str(status.get("message") or ""), status.get("code")
        if status["state"] == "finished":
            return Outcome(0, message)
        return Outcome(code if isinstance(code, int) and code else _FAILED, message)
    if status is not None:
        return Outcome(
            flwr_code or _FAILED,
            f"flwr ended (code {flwr_code}) but status.json still says "
            f"'{status.get('state')}': the server app was stopped or died",
        )
    if flwr_code == 0 and superlink:
        where = f"; if SuperLink '{superlink}' is on another machine, its status.json is there"
    else:
        where = ""
    return Outcome(
        flwr_code or _FAILED,
        f"flwr ended (code {flwr_code}) and the run wrote no status.json here{where}",
    )


def find_command(name: str) -> str:
    """Return the path of one of Flower's commands.

    Raises
    ------
    ConfigurationError
        It is not installed.
    """
    # The environment that bouquet was started from comes first, activated or not.
    folders = [str(Path(sys.executable).parent), os.environ.get("PATH", "")]
    found = shutil.which(name, path=os.pathsep.join(folders))
    if found is None:
        raise ConfigurationError(
            f"the command '{name}' was not found; pip install 'flwr[simulation]'"
        )
    return found


def flower_environment() -> dict[str, str]:
    """Return this process's environment, with what Flower's commands need to start quickly."""
    environment = dict(os.environ)
    # Without it Flower installs every dependency anew, torch too, for each run.
    environment["FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION"] = "1"
    environment["PYTHONUNBUFFERED"] = "1"  # the run's id must not wait in a buffer
    return environment
