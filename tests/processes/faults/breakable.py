"""A federation whose parts a test kills, freezes and starts again, and what it then did."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

from flower_host import FlowerHost, Nodes, wait_until

REPEATS = int(os.environ.get("BOUQUET_FAULT_REPEATS", "2"))
"""How often each fault is tried, every time with another seed."""

_NODE = "BOUQUET_TEST_NODE"
_GONE_SECONDS = 30.0


class BreakableNodes(Nodes):
    """A SuperLink that keeps its state in a file, ServerApps beside it, and SuperNodes.

    Parameters
    ----------
    host : FlowerHost
    """

    def __init__(self, host: FlowerHost) -> None:
        self._folder = host.folder / "link"
        self._folder.mkdir()
        database = str(self._folder / "state.db")
        super().__init__(host, options=("--isolation", "process", "--database", database))
        host.connection("lab", address=self.address, insecure=True)
        # It starts the ServerApps, which so outlive the SuperLink.
        host.start(
            "superexec", ["flower-superexec", "--insecure", "--runtime-api-address", self.address]
        )
        self._configs: dict[str, str] = {}
        self._started: dict[str, subprocess.Popen[bytes]] = {}

    # ---- the SuperLink -------------------------------------------------------------------

    def kill_link(self) -> None:
        """End the SuperLink without a word."""
        self._superlink.kill()
        self._superlink.wait()

    # ---- SuperNodes ----------------------------------------------------------------------

    def add(
        self, name: str, config: str, env: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a SuperNode and wait until the SuperLink knows it."""
        self._configs[name] = config
        self._started[name] = super().add(name, config, {**(env or {}), _NODE: name})
        wait_until(lambda: "SuperNode ID" in self._host.log(name), 60.0, name)
        return self._started[name]

    def kill_node(self, name: str) -> None:
        """End a SuperNode without a word, and wait until its own processes noticed."""
        self._started[name].kill()
        self._started[name].wait()
        wait_until(lambda: not self.members(name), _GONE_SECONDS, f"the end of {name}'s processes")

    def restart(self, name: str) -> None:
        """Start a SuperNode that was killed again, as it was."""
        self.add(name, self._configs[name])

    def members(self, name: str) -> list[int]:
        """Return a node's processes: SuperNode, SuperExec, and the ClientApp if one is at work."""
        return self._host.processes(f"{_NODE}={name}")

    def client_app(self, name: str) -> int | None:
        """Return a node's ClientApp process, if one is at work."""
        return next((p for p in self.members(name) if _runs(p, "flwr-clientapp")), None)

    def training(self, name: str) -> int | None:
        """Return a node's ClientApp process once it has its message and loads or trains a model."""
        process = self.client_app(name)
        return process if process is not None and _has_loaded(process, "libtorch") else None

    def signal(self, name: str, kind: signal.Signals) -> None:
        """Send a signal to all processes of a node."""
        for process in self.members(name):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, kind)

    # ---- ServerApps ----------------------------------------------------------------------

    def server_app(self) -> int | None:
        """Return the ServerApp process, if one is at work."""
        return next((p for p in self._host.processes() if _runs(p, "flwr-serverapp")), None)


def _runs(process: int, command: str) -> bool:
    """Whether a process runs a command and is no zombie."""
    try:
        return command.encode() in Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return False


def _has_loaded(process: int, library: str) -> bool:
    try:
        return library in Path(f"/proc/{process}/maps").read_text()
    except OSError:
        return False


def resident_bytes(process: int) -> int:
    """Return a process's memory."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
