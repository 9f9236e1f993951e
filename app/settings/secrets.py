"""Tokens and passwords: recognised by name or by shape, and never shown.

A person may put a token into the configuration. The method that asked for it gets it; error
messages, logs and the run directory get ``***``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import pairwise

MASK = "***"

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_SECRET_WORDS = frozenset(
    ["token", "password", "passwords", "passwd", "passphrase", "secret", "secrets", "apikey"]
).union(["credential", "credentials"])
_KEY_KINDS = frozenset(["api", "access", "secret", "private", "auth"])
_NAME = re.compile(r"""([\w.\-"']+)\s*=""")
# Shapes of Hugging Face, GitHub and OpenAI-like tokens; the user part of a URL.
_TOKEN = re.compile(r"\b(?:hf_|ghp_|gho_|github_pat_|glpat-|sk-)[A-Za-z0-9_\-]{16,}")
_URL_USER = re.compile(r"(?<=://)[^/\s@]+(?=@)")
_SHORT = 4


def is_secret_name(name: str) -> bool:
    """Say whether a key or argument of this name holds a secret.

    ``hf-token``, ``apiKey`` and ``db.password`` do; ``max-tokens`` and ``tokenizer`` do not.
    """
    words = [word.lower() for word in _WORD.findall(name)]
    return bool(_SECRET_WORDS.intersection(words)) or any(
        first in _KEY_KINDS and second == "key" for first, second in pairwise(words)
    )


def mask_shapes(text: str) -> str:
    """Replace what looks like a token, or a user in a URL, by ``***``."""
    return _URL_USER.sub(MASK, _TOKEN.sub(MASK, text))


def mask_piece(piece: str) -> str:
    """Show ``name=***`` for one ``name=value`` piece that holds a secret, else the piece."""
    if not _names_secret(piece):
        return mask_shapes(piece)
    return f"{piece.partition('=')[0].rstrip()}={MASK}"


def mask_arguments(arguments: Mapping[str, object]) -> dict[str, object]:
    """Copy nested arguments with every secret value replaced by ``***``."""
    return {name: _masked(name, value) for name, value in arguments.items()}


def find_secrets(values: Mapping[str, object], pieces_of: Mapping[str, list[str]]) -> set[str]:
    """Collect the secret texts of a flat configuration, so that they can be swept out.

    Parameters
    ----------
    values : mapping
        The configuration: key to value.
    pieces_of : mapping
        For the keys that hold arguments: their ``name=value`` pieces.
    """
    found: set[str] = set()
    for key, value in values.items():
        if is_secret_name(key):
            found.add(str(value))
        for piece in pieces_of.get(key, []):
            if _names_secret(piece):
                right = piece.partition("=")[2].strip()
                inner = re.findall(r'"((?:[^"\\]|\\.)*)"|\'([^\']*)\'', right)
                found.update([right, *(text for pair in inner for text in pair)])
    return {text for text in found if text.strip()}


def sweep(text: str, secrets: Iterable[str]) -> str:
    """Replace every secret that occurs in a text by ``***``.

    A short secret is replaced only where it stands alone, or it would blot out whole words.
    """
    for secret in sorted(secrets, key=len, reverse=True):
        pattern = re.escape(secret)
        if len(secret) < _SHORT:
            pattern = rf"(?<!\w){pattern}(?!\w)"
        text = re.sub(pattern, MASK, text)
    return mask_shapes(text)


def _names_secret(piece: str) -> bool:
    return any(is_secret_name(name) for name in _NAME.findall(piece))


def _masked(name: str, value: object) -> object:
    if is_secret_name(name):
        return MASK
    if isinstance(value, Mapping):
        return mask_arguments(value)
    if isinstance(value, list | tuple):
        return [_masked("", item) for item in value]
    return mask_shapes(value) if isinstance(value, str) else value
