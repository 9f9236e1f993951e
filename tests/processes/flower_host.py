"""One FLWR_HOME with its own ports, and every process that runs under it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import httpx
import tomli_w

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
_MARK = "BOUQUET_TEST_HOST"
_START_SECONDS = 60.0
_STOP_SECONDS = 20.0


def free_ports(count: int) -> list[int]:
    """Return ports of this machine that nobody listens on."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def wait_until(done: Callable[[], bool], seconds: float, what: str, every: float = 0.1) -> None:
    """Wait for something, at most so long; look again after `every` seconds."""
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:g} s for {what}")
        time.sleep(every)


class FlowerHost:
    """Runs Flower's commands away from the user's own Flower.

    Every process gets a mark in its environment, which children inherit, so that detached ones
    (the local SuperLink of ``flwr run``, Ray) are found again.

    Parameters
    ----------
    folder : Path
        For logs and FLWR_HOME.
    bouquet_home : Path
        For base models and plans.
    """

    def __init__(self, folder: Path, bouquet_home: Path) -> None:
        self.folder = folder
        self.home = folder / "flwr"
        self.home.mkdir(parents=True)
        self.local_port, control_port = free_ports(2)
        # Ray's sockets lie below it, and their paths may have 107 characters only.
        self._ray = Path(tempfile.mkdtemp(prefix="bq-"))
        self._mark = f"{_MARK}={folder}"
        self.env = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("FLWR_", "RAY_"))},
            "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}",
            _MARK: str(folder),
            "FLWR_HOME": str(self.home),
            "FLWR_LOCAL_SUPERLINK_HTTP_API_PORT": str(self.local_port),
            "FLWR_LOCAL_CONTROL_API_PORT": str(control_port),
            "FLWR_TELEMETRY_ENABLED": "0",
            "FLWR_DISABLE_UPDATE_CHECK": "1",
            "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
            "RAY_TMPDIR": str(self._ray),
            "RAY_USAGE_STATS_ENABLED": "0",
            "BOUQUET_HOME": str(bouquet_home),
            "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1",
        }

    def connection(self, name: str, **entries: str | bool) -> None:
        """Name a SuperLink in ``$FLWR_HOME/config.toml``."""
        told = {"superlink": {"default": name, name: entries}}
        (self.home / "config.toml").write_text(tomli_w.dumps(told))

    def run(
        self, command: Sequence[str | Path], *, cwd: Path | None = None, timeout: float = 240.0
    ) -> subprocess.CompletedProcess[str]:
        """Run one of the environment's commands to its end; stdout and stderr in one."""
        return subprocess.run(
            [BIN / command[0], *command[1:]],
            cwd=cwd or self.folder,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            check=False,
        )

    def flwr_run(
        self,
        settings: Mapping[str, object],
        *,
        app: Path = ROOT,
        on: str | None = None,
        timeout: float = 240.0,
    ) -> subprocess.CompletedProcess[str]:
        """``flwr run APP [NAME] -c FILE --stream``, from the app's own folder."""
        file = self.folder / "run.toml"
        file.write_text(tomli_w.dumps(settings))
        where = [on] if on else []
        return self.run(
            ["flwr", "run", app, *where, "-c", file, "--stream"], cwd=app, timeout=timeout
        )

    def start(
        self, name: str, command: Sequence[str | Path], env: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start one of the environment's commands; it writes to ``NAME.log``."""
        with (self.folder / f"{name}.log").open("wb") as log:
            return subprocess.Popen(
                [BIN / command[0], *command[1:]],
                cwd=self.folder,
                env={**self.env, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def log(self, name: str) -> str:
        """Return what a started command wrote."""
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def processes(self, mark: str = "") -> list[int]:
        """Return the ids of all processes that carry this host's mark, and `mark` if given."""
        wanted = {text.encode() for text in (self._mark, mark) if text}
        found = []
        for folder in Path("/proc").iterdir():
            if not folder.name.isdigit():
                continue
            try:
                marked = wanted.issubset((folder / "environ").read_bytes().split(b"\0"))
            except OSError:  # ended meanwhile, or another user's
                continue
            if marked:
                found.append(int(folder.name))
        return found

    def stop(self) -> None:
        """End every process of this host, politely at first, and remove Ray's files.

        Raises
        ------
        AssertionError
            Something outlived a kill.
        """
        for kind in (signal.SIGTERM, signal.SIGKILL):
            for process in self.processes():
                try:
                    os.kill(process, kind)
                except ProcessLookupError:
                    continue
            deadline = time.monotonic() + _STOP_SECONDS
            while self.processes() and time.monotonic() < deadline:
                time.sleep(0.1)
        shutil.rmtree(self._ray, ignore_errors=True)
        assert self.processes() == [], "processes stayed behind"


class Nodes:
    """A SuperLink and SuperNodes on this machine, under one host.

    Parameters
    ----------
    host : FlowerHost
    env : mapping, optional
        More of the SuperLink's environment.
    options : sequence of str
        More of its command line.
    """

    def __init__(
        self, host: FlowerHost, env: Mapping[str, str] | None = None, options: Sequence[str] = ()
    ) -> None:
        self._host = host
        self._env = env
        self._options = tuple(options)
        (self._port,) = free_ports(1)
        self.address = f"127.0.0.1:{self._port}"
        self.start_link()

    def start_link(self) -> None:
        """Start the SuperLink, again on the same port if it ended, and wait until it answers."""
        command = ["flower-superlink", "--insecure", "--port", str(self._port), *self._options]
        self._superlink = self._host.start(
            "superlink", [*command, "--disable-runtime-dependency-installation"], self._env
        )
        wait_until(self._healthy, _START_SECONDS, "the SuperLink")

    def _healthy(self) -> bool:
        assert self._superlink.poll() is None, self._host.log("superlink")
        try:
            return httpx.get(f"http://{self.address}/health", timeout=1.0).is_success
        except httpx.HTTPError:
            return False

    def add(
        self, name: str, config: str, env: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a SuperNode; its data and state are in ``config``."""
        (port,) = free_ports(1)
        command = ["flower-supernode", "--insecure", "--superlink", self.address]
        options = ["--port", str(port), "--node-config", config]
        return self._host.start(name, [*command, *options], env)
