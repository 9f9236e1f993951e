"""Runs in a federation that a test breaks, and the same runs undisturbed in this process."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from typing import cast

from breakable import BreakableNodes
from flower_host import ROOT, FlowerHost, wait_until
from flwr.app import Context, Message
from flwr.clientapp import ClientApp
from hospitals import Sites, metrics_of

from app.client_app import app
from app.server.job import run_job
from fedbouquet.testing import LocalGrid
from models.messages import PackHeader, is_pack

CLIENTS = ("hospital-a", "hospital-b")
ADAPTER = "adapter/adapter_model.safetensors"
Answer = tuple[int, str]
"""A round, and the client who was asked to train in it."""

_SETTINGS: dict[str, str | int | float | bool] = {
    "adapter-args": "rank=2",
    "learning-rate": 0.005,
    "local-steps": 20,
    "evaluate-every": 0,
    "threads": 1,
}


class Run:
    """A run that was submitted, followed through its run directory.

    Parameters
    ----------
    folder : Path
        The run directory.
    before : str
        When its status was last written before; empty for a new run.
    """

    def __init__(self, folder: Path, before: str = "") -> None:
        self.folder = folder
        self._before = before

    @property
    def updated(self) -> str:
        """When the status was last written; empty before it ever was."""
        return self._status().get("updated", "")

    @property
    def state(self) -> str:
        """What the status says; of a resumed run, nothing until it began anew."""
        return self._status().get("state", "") if self.updated != self._before else ""

    @property
    def over(self) -> bool:
        """Whether the run ended, well or not."""
        return self.state in ("finished", "failed", "stopped")

    @property
    def rounds(self) -> int:
        """The last round that is over; -1 before any."""
        return len(metrics_of(self.folder)) - 1 if self._file.is_file() else -1

    @property
    def seconds(self) -> float:
        """How long the last round took."""
        return float(str(metrics_of(self.folder)[-1]["seconds"]))

    @property
    def named(self) -> set[Answer]:
        """The rejected answers, by round and client."""
        lines = [cast(list[dict[str, str]], line["rejected"]) for line in metrics_of(self.folder)]
        return {(number, r["client"]) for number, line in enumerate(lines) for r in line}

    @property
    def lost(self) -> set[Answer]:
        """The answers that did not count: rejected, or never asked for."""
        with (self.folder / "participation.csv").open() as file:
            answered = {
                (row["round"], row["client"])
                for row in csv.DictReader(file)
                if row["outcome"] == "answered"
            }
        over = range(1, self.rounds + 1)
        return {(n, c) for n in over for c in CLIENTS if (str(n), c) not in answered}

    def wait_for_round(self, server_round: int, seconds: float = 240.0) -> None:
        """Wait until a round is over, or the run."""
        wait_until(
            lambda: self.rounds >= server_round or self.over, seconds, f"round {server_round}"
        )
        assert self.rounds >= server_round, self._status()

    def wait_for_end(self, seconds: float = 600.0) -> str:
        """Wait for the run's end and return its state."""
        wait_until(lambda: self.over, seconds, "the run's end")
        return self.state

    @property
    def _file(self) -> Path:
        return self.folder / "metrics.jsonl"

    def _status(self) -> dict[str, str]:
        # Every file is renamed into place, so it is there whole or not at all.
        file = self.folder / "status.json"
        return json.loads(file.read_text()) if file.is_file() else {}


class Federation:
    """Two hospitals' nodes under one SuperLink.

    Parameters
    ----------
    host : FlowerHost
    nodes : BreakableNodes
    sites : Sites
    model : Path
        The frozen base, on every machine.
    """

    def __init__(self, host: FlowerHost, nodes: BreakableNodes, sites: Sites, model: Path) -> None:
        self.host = host
        self.nodes = nodes
        self._settings = {**_SETTINGS, "model": str(model), "out-dir": str(host.folder / "runs")}
        self._places = {
            name: {"client-id": name, "data-path": str(sites.clients / name)} for name in CLIENTS
        }
        for name in CLIENTS:
            place = {**self._places[name], "state-dir": str(self.state_of(name))}
            nodes.add(name, " ".join(f'{key}="{value}"' for key, value in place.items()))

    def state_of(self, name: str, where: str = "nodes") -> Path:
        """Return a node's state folder; in this process, the folder has another name."""
        return self.host.folder / where / name

    def submit(self, settings: Mapping[str, str | int | float | bool]) -> Run:
        """Submit a run named ``real``."""
        file = self.host.folder / "run.toml"
        told = {**self._settings, **settings, "run-name": "real"}
        lines = [f"{key} = {json.dumps(value)}\n" for key, value in told.items()]
        file.write_text("".join(lines))
        folder = Path(str(told["out-dir"])) / "real"
        before = Run(folder).updated
        done = self.host.run(["flwr", "run", ROOT, "lab", "-c", file], cwd=ROOT)
        assert done.returncode == 0, done.stdout
        return Run(folder, before)

    def expected(
        self,
        settings: Mapping[str, str | int | float | bool],
        lost: Collection[Answer],
        untouched: Collection[Answer] = (),
    ) -> Path:
        """Return the run directory of the same run in this process, some answers lost.

        Parameters
        ----------
        settings : mapping
        lost : collection of Answer
            Whose answers get lost on the way.
        untouched : collection of Answer
            Those of them who had not even trained.
        """
        told = {**self._settings, **settings, "run-name": "expected"}
        places = [
            {**place, "state-dir": str(self.state_of(name, "expected"))}
            for name, place in self._places.items()
        ]
        lose = partial(_answer, lost=lost, untouched=untouched)
        return run_job(LocalGrid(cast(ClientApp, lose), places, told), told)


def _answer(
    message: Message, context: Context, lost: Collection[Answer], untouched: Collection[Answer]
) -> Message:
    asked: list[Answer] = []
    if message.metadata.message_type == "train" and is_pack(message.content):
        pack = PackHeader.from_content(message.content)
        asked = [(pack.server_round, client) for client in pack.clients]
    if any(answer in untouched for answer in asked):
        raise ConnectionError
    reply = app(message, context)
    if any(answer in lost for answer in asked):
        raise ConnectionError
    return reply


def wait_for(found: Callable[[], int | None], seconds: float, what: str) -> int:
    """Wait for a process and return it."""
    deadline = time.monotonic() + seconds
    while (process := found()) is None:
        assert time.monotonic() < deadline, f"waited {seconds:g} s for {what}"
        time.sleep(0.02)
    return process
