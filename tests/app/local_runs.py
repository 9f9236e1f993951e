"""Whole runs in this process, for tests: a small configuration, a run, and its end before time."""

from __future__ import annotations

from flwr.app import Message

from fedbouquet.testing import Killed, kill_at, rounds, small
from fedbouquet.testing import run_here as run
from fedbouquet.testing.runs import Tamper

__all__ = ["Config", "Killed", "Losing", "Tamper", "kill_at", "rounds", "run", "small"]

Config = dict[str, str | int | float | bool]


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
