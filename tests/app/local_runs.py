"""Whole runs in this process, for tests: a small configuration, a run, and its end before time."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flwr.app import Message

from app import packs
from app.client_app import app
from app.job import run_job
from fedbouquet.testing import LocalGrid

Config = dict[str, str | int | float | bool]
Tamper = Callable[[Message, Message], Message | None]


class Killed(BaseException):
    """The server's process ends here."""


def small(tmp_path: Path, model: Path) -> Config:
    """A few clients with equal shares of the digits, on a very small model."""
    return {
        "model": str(model),
        "num-clients": 4,
        "partition": "iid",
        "partition-args": "",
        "out-dir": str(tmp_path / "runs"),
        "run-name": "whole",
        "batch-size": 64,
        "node-wait-timeout": 5.0,
    }


def run(config: Config, tamper: Tamper | None = None, nodes: int = 2) -> Path:
    places = [{"partition-id": i, "num-partitions": nodes} for i in range(nodes)]
    return run_job(LocalGrid(app, places, config, tamper), config)


def rounds(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


class Losing:
    """The first answers to training are of another round, and so do not count."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.lost = 0

    def __call__(self, message: Message, reply: Message) -> Message:
        if message.metadata.message_type == "train" and self.lost < self.count:
            self.lost += 1
            reply.content["config"]["server-round"] = 99
        return reply


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
