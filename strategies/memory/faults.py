"""What can be wrong with a memory on disk, in words."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from models.errors import RunDirectoryError


@contextmanager
def on_disk(doing: str, folder: Path) -> Iterator[None]:
    """Turn what the system or SQLite says into an error that names the folder.

    Raises
    ------
    RunDirectoryError
        No room, no right, damaged, held by another process, or closed.
    """
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        raise RunDirectoryError(
            f"cannot {doing} the memory of updates in '{folder}': {error}; it needs room on the "
            "disk and belongs to one process: make room or end the other one, and continue with "
            "resume=true"
        ) from error


def refuse_others(
    folder: Path, found: Mapping[str, int | str], wanted: Mapping[str, int | str]
) -> None:
    """Raise RunDirectoryError unless the memory found is of the kind that is wanted."""
    for name, value in wanted.items():
        if found.get(name) != value:
            raise RunDirectoryError(
                f"the memory of updates in '{folder}' has {name} {found.get(name)}, this run needs "
                f"{value}: use the settings it was made with, or start a new run"
            )


def damaged(path: Path, client: str, server_round: int) -> RunDirectoryError:
    """Return the error for a vector that is not what was written."""
    return RunDirectoryError(
        f"in '{path}' the update of '{client}' of round {server_round} is damaged (its checksum "
        "does not match); restore the whole folder, or start a new run"
    )
