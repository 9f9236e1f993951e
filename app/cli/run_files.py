"""What a run in progress leaves in its directory, read while it is being written."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Progress:
    """How far the round in progress is.

    Attributes
    ----------
    round, rounds : int
        The round being run, counted from 1, and how many there are.
    done, asked : int
        Clients that have answered, and that were asked.
    action : str
        What they were asked for, such as ``"train"``; empty if not said.
    """

    round: int
    rounds: int
    done: int
    asked: int
    action: str = ""


class RunFiles:
    """Reader of one run directory that tells new from old.

    A run that is resumed finds the files of its first part: what stood there when this reader
    was made is not reported.
    """

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self._old_status = _read(run_dir / "status.json")
        self._old_progress = _read(run_dir / "progress.json")
        self._seen = len(self._lines())

    def status(self) -> dict[str, object] | None:
        """Return this run's status.json, or None if it has written none yet."""
        text = _read(self.run_dir / "status.json")
        return None if text == self._old_status else _object(text)

    def progress(self) -> Progress | None:
        """Return where the round in progress stands, or None if that is not known yet."""
        text = _read(self.run_dir / "progress.json")
        values = None if text == self._old_progress else _object(text)
        if values is None:
            return None
        numbers = [values.get(key) for key in ("round", "rounds", "done", "asked")]
        counts = [number for number in numbers if isinstance(number, int)]
        if len(counts) != len(numbers):
            return None
        number, rounds, done, asked = counts
        return Progress(number, rounds, done, asked, str(values.get("action", "")))

    def new_rounds(self) -> list[dict[str, object]]:
        """Return the rounds finished since the last call."""
        lines = self._lines()
        # A resumed run cuts the rounds after its checkpoint off before it repeats them.
        start = min(self._seen, len(lines))
        self._seen = len(lines)
        return [values for line in lines[start:] if (values := _object(line)) is not None]

    def _lines(self) -> list[str]:
        text = _read(self.run_dir / "metrics.jsonl")
        return [line for line in text.splitlines(keepends=True) if line.endswith("\n")]


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""


def _object(text: str) -> dict[str, object] | None:
    try:
        values = json.loads(text)
    except json.JSONDecodeError:
        return None
    return values if isinstance(values, dict) else None
