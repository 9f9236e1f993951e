"""A SuperLink of our own for a while: simulations that share no port with anybody's."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx
import psutil
import tomli_w

from app.cli.launch import find_command, flower_environment
from models.errors import BouquetError

NAME = "bouquet"
"""What the connection to it is called."""

_START_SECONDS = 60.0
_STOP_SECONDS = 20.0


class OwnSuperLink:
    """A SuperLink for simulations on this machine, ended when the block is left.

    Parameters
    ----------
    log : Path
        Where it writes.

    Attributes
    ----------
    environment : mapping
        What ``flwr`` needs in its environment to find it, under the name `NAME`.
    """

    def __init__(self, log: Path) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="bouquet-")
        self._log = log
        self._control, self._port = _free_ports(2)
        home = Path(self._folder.name) / "flwr"
        home.mkdir()
        address = {"address": f"127.0.0.1:{self._port}", "insecure": True}
        told = {"superlink": {"default": NAME, NAME: address}}
        (home / "config.toml").write_text(tomli_w.dumps(told), encoding="utf-8")
        self.environment = {"FLWR_HOME": str(home), "FLWR_DISABLE_UPDATE_CHECK": "1"}
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Start it, and wait until it answers.

        Raises
        ------
        BouquetError
            It ended at once, or does not answer.
        """
        command = [find_command("flower-superlink"), "--insecure", "--simulation"]
        command += ["--isolation", "subprocess", "--host", "127.0.0.1", "--port", str(self._port)]
        command += ["--control-api-address", f"127.0.0.1:{self._control}"]
        folder = Path(self._folder.name)
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*command, "--database", str(folder / "state.db")],
                env={**flower_environment(), **self.environment},
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches us alone, and we end it in order
            )
        deadline = time.monotonic() + _START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.__exit__(None, None, None)
                raise BouquetError(f"the SuperLink did not start; its log is {self._log}")
            time.sleep(0.2)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End it, with whatever still runs under it: a run says that it was stopped."""
        process = self._process
        if process is not None and process.poll() is None:
            under = psutil.Process(process.pid).children(recursive=True)
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            end_processes(under)
        self._folder.cleanup()

    def _answers(self) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self._port}/health", timeout=1.0).is_success
        except httpx.HTTPError:
            return False


def end_processes(processes: Sequence[psutil.Process]) -> None:
    """End what still runs of these, politely at first.

    Only those whose parent is none of them are asked, so that each can end its own in order: a
    simulation writes its state and ends Ray.
    """
    alive = _alive_after(0.0, processes)
    numbers = {process.pid for process in alive}
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.ppid() not in numbers:
                process.terminate()
    for process in _alive_after(_STOP_SECONDS, alive):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    _alive_after(_STOP_SECONDS, alive)


def _alive_after(seconds: float, processes: Sequence[psutil.Process]) -> list[psutil.Process]:
    """Wait at most so long until all have ended, and return those that have not."""
    deadline = time.monotonic() + seconds
    while (left := [one for one in processes if _lives(one)]) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


def _lives(process: psutil.Process) -> bool:
    # Where nobody asks how an orphan ended, as in some containers, it stays as a zombie.
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.is_running() and bool(process.status() != psutil.STATUS_ZOMBIE)
    return False


def _free_ports(number: int) -> list[int]:
    """Return ports that nobody listens on; held together, so that they differ."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(number)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
