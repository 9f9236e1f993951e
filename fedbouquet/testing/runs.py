"""Whole runs in this process: settings in, run directory out, in a second or two."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch

from flwr.app import Message

from app import packs
from app.client_app import app
from app.server.job import run_job
from fedbouquet.testing.grid import LocalGrid

Config = Mapping[str, str | int | float | bool]
Tamper = Callable[[Message, Message], Message | None]


class Killed(BaseException):
    """The server's process ends here."""


def small(folder: Path, model: Path) -> dict[str, str | int | float | bool]:
    """Return settings of four clients with equal shares of the digits.

    Parameters
    ----------
    folder : Path
        For run directories, under ``runs``.
    model : Path
        The base model, such as `tiny_base`'s.
    """
    return {
        "model": str(model),
        "num-clients": 4,
        "partition": "iid",
        "partition-args": "",
        "out-dir": str(folder / "runs"),
        "run-name": "whole",
        "batch-size": 64,
        "local-steps": 3,
        "node-wait-timeout": 5.0,
    }


def run_here(
    config: Config, tamper: Tamper | None = None, nodes: int = 2, *, report: bool = True
) -> Path:
    """Run server and clients in this process and return the run directory.

    Parameters
    ----------
    config : mapping
        Settings, as ``bouquet run`` takes them.
    tamper : callable, optional
        ``(message, reply) -> reply or None``, to spoil or swallow answers.
    nodes : int
        Nodes that the clients are divided over.
    report : bool
        Whether to draw the report, which takes seconds.
    """
    places = [{"partition-id": i, "num-partitions": nodes} for i in range(nodes)]
    grid = LocalGrid(app, places, config, tamper)
    if report:
        return run_job(grid, config)
    with patch("app.report.write_report", lambda folder: folder / "report.html"):
        return run_job(grid, config)


def rounds(folder: Path) -> list[dict[str, Any]]:
    """Return what a run recorded of each round, from round 0."""
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def outcome(folder: Path) -> object:
    """Return everything that a run states and that must not depend on how it came about."""
    lines = [_timeless(line) for line in rounds(folder)]
    adapters = sorted((folder / "adapter").rglob("*.safetensors"))
    return lines, (folder / "clients.csv").read_text(), [file.read_bytes() for file in adapters]


def _timeless(line: dict[str, Any]) -> dict[str, Any]:
    # Seconds are an outcome on the virtual clock only.
    skipped = {"seconds", "remarks"} | (
        {"idle_seconds"} if line.get("virtual_seconds") is None else set()
    )
    return {key: value for key, value in line.items() if key not in skipped}


def kill_at(count: int, *kinds: str) -> Tamper:
    """End the server at the answer to a message of these kinds (from 1; training by default).

    Until then every message meets a new process, as on a real node.
    """
    seen = 0

    def kill(message: Message, reply: Message) -> Message:
        nonlocal seen
        seen += message.metadata.message_type in (kinds or ("train",))
        if seen == count:
            raise Killed
        packs._sessions.clear()
        return reply

    return kill
