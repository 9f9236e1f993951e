"""What a check found, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["good", "warning", "problem"]


@dataclass(frozen=True)
class Finding:
    """The outcome of one check.

    Attributes
    ----------
    level : {"good", "warning", "problem"}
        A problem keeps runs from working; a warning may.
    about : str
        What was checked.
    found : str
    remedy : str
        What to do; empty where all is well.
    """

    level: Level
    about: str
    found: str
    remedy: str = ""
