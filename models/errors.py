"""The one family of exceptions: every error that is meant for the person at the keyboard.

A message says what was wrong, where, what was found, what is allowed and what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class BouquetError(Exception):
    """Base of all errors raised on purpose by this project.

    Attributes
    ----------
    code : int
        Exit code that ``bouquet run`` returns and ``status.json`` states.
    """

    code: int = 1


class ConfigurationError(BouquetError):
    """Wrong settings; lists every error at once, found before the first message.

    Parameters
    ----------
    errors : iterable of str
        One line an error.
    """

    code = 2

    def __init__(self, errors: Iterable[str] | str) -> None:
        self.errors = [errors] if isinstance(errors, str) else list(errors)
        count = len(self.errors)
        head = "1 error" if count == 1 else f"{count} errors"
        lines = "\n".join(f"  - {line}" for line in self.errors)
        super().__init__(f"{head} in the configuration:\n{lines}")


class DataError(BouquetError):
    """A data set, column, label or partition that cannot be used; names client and column."""

    code = 3


class ModelError(BouquetError):
    """A base model or adapter that cannot be loaded, matched or applied."""

    code = 4


class ParticipationError(BouquetError):
    """Too few clients or nodes answered in time; says how many of how many."""

    code = 5


class RunDirectoryError(BouquetError):
    """A run directory that exists already, is locked, or cannot be written."""

    code = 6


class LinkError(BouquetError):
    """The SuperLink was away for longer than a run can wait."""

    code = 9


class ClientError(BouquetError):
    """One client's failure on its node; only that client is lost.

    Parameters
    ----------
    code_name : str
        Short machine-readable reason, such as ``"schema"`` or ``"base"``.
    detail : str
        The explanation a person reads.
    """

    code = 7

    def __init__(self, code_name: str, detail: str) -> None:
        self.code_name = code_name
        self.detail = detail
        super().__init__(f"{code_name}: {detail}")


def nearest(name: str, known: Iterable[str]) -> str:
    """Say what is known, nearest spelling first.

    Returns
    -------
    str
        ``"did you mean 'x'? known: x, y, z"`` or, with no near one, ``"known: x, y, z"``.
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    listed = ", ".join([*close, *(n for n in names if n not in close)])
    hint = f"did you mean '{close[0]}'? " if close else ""
    return f"{hint}known: {listed}"


def one_line(text: str, limit: int = 200) -> str:
    """Return foreign text as one harmless line of at most `limit` characters.

    Line breaks, control, formatting and other unprintable characters are written as escapes, so
    that nothing moves a cursor, colours a terminal or reverses a line. Doing it twice changes
    nothing.
    """
    # An escape is longer than what it stands for: no more than `limit` characters can be shown.
    shown = "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[:limit]
    )
    return shown if len(shown) <= limit and len(text) <= limit else f"{shown[: limit - 3]}..."
