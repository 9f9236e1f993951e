"""A whole federation on this machine, as it would be run in production.

One SuperLink with SQLite, TLS, node authentication and process isolation, the SuperExec that starts
its ServerApps, and two SuperNodes with registered keys and digits of their own. It runs until
Ctrl-C or SIGTERM, or, with ``--run``, through one run; then every process is ended.
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import FrameType

import tomli_w
from credentials import make_certificates, make_node_key, make_secret
from processes import Processes
from sites import SITES, write_sites

NAME = "federation"
_SERVER = ("superlink", "superexec")
_START_SECONDS = 90.0
_BIN = Path(sys.executable).parent


class Federation:
    """The processes and their files.

    Parameters
    ----------
    folder : Path
        For all files. Keys, data, the database of the SuperLink and what nodes keep are found
        again when it is used a second time.
    port : int
        Of the SuperLink; 0 takes one that is free.
    """

    def __init__(self, folder: Path, port: int = 0) -> None:
        self.folder = folder
        self.flower_home = folder / "flower"
        self.address = f"127.0.0.1:{port or _free_port()}"
        for part in ("keys", "data", "logs", "flower", "server"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        (folder / "keys").chmod(0o700)
        own = {k: v for k, v in os.environ.items() if not k.startswith("FLWR_")}
        self.env = {
            **own,
            # Flower finds its other commands there.
            "PATH": f"{_BIN}{os.pathsep}{os.environ.get('PATH', '')}",
            "FLWR_HOME": str(self.flower_home),
            "FLWR_TELEMETRY_ENABLED": "0",
            "FLWR_DISABLE_UPDATE_CHECK": "1",
            # A SuperExec asks for work this often; the default of 1 s delays each message.
            "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.1",
        }
        self.processes = Processes(folder / "logs", self.env)

    def start(self) -> None:
        """Make what is missing and start everything.

        Raises
        ------
        RuntimeError
            Something did not come up; says what.
        """
        keys = self.folder / "keys"
        make_certificates(keys)
        make_secret(keys / "superexec.secret")
        write_sites(self.folder / "data")
        self._name_connection()
        self._start_server()
        self._wait_for(self._healthy, "the SuperLink")
        for site in SITES:
            make_node_key(keys / f"{site}.key")
            self._register(site)
            self._start_node(site)
        for site in SITES:
            self._wait_for(partial(self._connected, site), f"the SuperNode of {site}")

    def stop(self) -> None:
        """End every process."""
        self.processes.stop()

    def run_command(self, settings: Sequence[str] = ()) -> list[str]:
        """Return the command that runs the app on this federation."""
        told = {
            "num-server-rounds": "3",
            "learning-rate": "0.003",
            "quorum": str(len(SITES)),
            "server-data-path": str(self.folder / "data" / "server-test"),
            "public-data": str(self.folder / "data" / "public"),
            "out-dir": str(self.folder / "runs"),
        }
        given = {word.partition("=")[0] for word in settings}
        words = [f"{key}={value}" for key, value in told.items() if key not in given]
        return ["bouquet", "run", "--on", NAME, *words, *settings]

    def run(self, settings: Sequence[str] = ()) -> int:
        """Run the app and return the exit code; leaving early, stop following it."""
        name, *words = self.run_command(settings)
        command = [str(_BIN / name), *words]
        # In a session of its own it does not hear a Ctrl-C twice.
        with subprocess.Popen(command, env=self.env, start_new_session=True) as process:
            try:
                return process.wait()
            finally:
                if process.poll() is None:
                    process.send_signal(signal.SIGINT)

    # ---- below ---------------------------------------------------------------------------

    def _wait_for(self, done: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not done():
            self.processes.check(_SERVER)
            if time.monotonic() > deadline:
                raise RuntimeError(
                    f"waited {_START_SECONDS:g} s for {what}; see {self.folder / 'logs'}"
                )
            time.sleep(0.2)

    def _start_server(self) -> None:
        keys = self.folder / "keys"
        host, port = self.address.split(":")
        secret = f"--superexec-auth-secret-file={keys / 'superexec.secret'}"
        self.processes.start(
            "superlink",
            [
                str(_BIN / "flower-superlink"),
                f"--host={host}",
                f"--port={port}",
                f"--ssl-certfile={keys / 'superlink.crt'}",
                f"--ssl-keyfile={keys / 'superlink.key'}",
                f"--ssl-ca-certfile={keys / 'ca.crt'}",
                f"--database={self.folder / 'server' / 'superlink.db'}",
                "--isolation=process",
                secret,
                "--enable-supernode-auth",
                "--disable-runtime-dependency-installation",
            ],
        )
        # It asks again and again, so it may start before the SuperLink listens.
        self.processes.start(
            "superexec",
            [
                str(_BIN / "flower-superexec"),
                f"--runtime-api-address={self.address}",
                f"--root-certificates={keys / 'ca.crt'}",
                secret,
            ],
            BOUQUET_HOME=str(self.folder / "server"),
        )

    def _start_node(self, site: str) -> None:
        keys = self.folder / "keys"
        data, state = self.folder / "data" / site, self.folder / "sites" / site
        self.processes.start(
            site,
            [
                str(_BIN / "flower-supernode"),
                f"--superlink={self.address}",
                f"--root-certificates={keys / 'ca.crt'}",
                f"--auth-supernode-private-key={keys / f'{site}.key'}",
                f"--port={_free_port()}",
                f'--node-config=client-id="{site}" data-path="{data}" state-dir="{state}"',
            ],
        )

    def _name_connection(self) -> None:
        certificate = str(self.folder / "keys" / "ca.crt")
        entry = {"address": self.address, "root-certificates": certificate}
        text = tomli_w.dumps({"superlink": {"default": NAME, NAME: entry}})
        (self.flower_home / "config.toml").write_text(text, encoding="utf-8")

    def _register(self, site: str) -> None:
        """Register a site's key; the database remembers those that were."""
        done = self.folder / "server" / f"{site}.registered"
        if done.exists():
            return
        key = self.folder / "keys" / f"{site}.key.pub"
        command = [str(_BIN / "flwr"), "supernode", "register", str(key), NAME, "--name", site]
        told = subprocess.run(command, env=self.env, capture_output=True, text=True, check=False)
        if told.returncode:
            raise RuntimeError(f"{site} could not be registered: {told.stdout}{told.stderr}")
        done.touch()

    def _healthy(self) -> bool:
        trusted = ssl.create_default_context(cafile=self.folder / "keys" / "ca.crt")
        try:
            with urllib.request.urlopen(
                f"https://{self.address}/health", timeout=2.0, context=trusted
            ) as answer:
                return int(answer.status) == 200
        except (urllib.error.URLError, OSError):
            return False

    def _connected(self, site: str) -> bool:
        """Say whether a site's SuperNode is in, and start one that was refused again.

        After a kill the SuperLink takes a node for connected until two of its heartbeats, one
        minute, have not come; so long it refuses the same key.
        """
        log = self.folder / "logs" / f"{site}.log"
        if self.processes.ended(site):
            self._start_node(site)
        return "SuperNode ID" in log.read_text(errors="replace")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def main() -> int:
    """Start, tell how to use it, wait, stop."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--folder", type=Path, help="for all files, kept; else a temporary one")
    parser.add_argument("--port", type=int, default=0, help="of the SuperLink; else a free one")
    parser.add_argument(
        "--run", nargs="*", metavar="KEY=VALUE", help="run once with these settings, then stop"
    )
    options = parser.parse_args()
    # A shell starts background commands deaf to SIGINT, and their children would be too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    with tempfile.TemporaryDirectory(prefix="bouquet-federation-") as temporary:
        federation = Federation((options.folder or Path(temporary)).resolve(), options.port)
        try:
            print(f"starting in {federation.folder} ...", flush=True)
            federation.start()
            ids = ", ".join(f"{name} {number}" for name, number in federation.processes.ids.items())
            print(f"SuperLink at https://{federation.address}; process ids: {ids}")
            command = federation.run_command(options.run or ())
            print(f"FLWR_HOME={shlex.quote(str(federation.flower_home))} {shlex.join(command)}")
            sys.stdout.flush()
            if options.run is not None:
                return federation.run(options.run)
            print("running until Ctrl-C", flush=True)
            while True:
                federation.processes.check()
                time.sleep(0.5)
        except KeyboardInterrupt:
            return 130
        except RuntimeError as error:
            print(error, file=sys.stderr)
            return 1
        finally:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
            print("stopping ...", flush=True)
            federation.stop()


if __name__ == "__main__":
    sys.exit(main())
