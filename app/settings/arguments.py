"""The ``*-args`` settings: the inside of a TOML inline table, read and written.

Flower's run-config holds scalars only, so the options of a method, an adapter or a partition
travel in one string: ``'beta=0.2'``, ``'fedstale.beta=0.2, adaptive-clusters.threshold=5'``.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Iterator, Mapping
from types import MappingProxyType

import tomli_w

from app.settings.secrets import mask_piece
from models.errors import ConfigurationError

_BARE_WORD = re.compile(r"[A-Za-z_/][\w./:+-]*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_OPEN, _CLOSE = "[{", "]}"
_LONGEST_SHOWN = 80


def parse_arguments(text: str) -> dict[str, object]:
    """Read ``'a=1, b.c="x"'`` into ``{"a": 1, "b": {"c": "x"}}``.

    Parameters
    ----------
    text : str
        ``key=value`` pieces between commas or newlines. Dots in a key nest; a value is TOML,
        and a bare word (``alpha=auto``) is taken as a string.

    Raises
    ------
    ConfigurationError
        With one line for each piece that cannot be read, is given twice, or holds NaN,
        infinity or a date.
    """
    arguments: dict[str, object] = {}
    errors: list[str] = []
    for piece in split_pieces(text):
        try:
            _merge(arguments, _parse_piece(piece), "")
        except ValueError as error:
            errors.append(f"{_shown(piece)}: {error}")
    if errors:
        raise ConfigurationError(errors)
    return arguments


def render_arguments(arguments: Mapping[str, object]) -> str:
    """Write arguments as one line that `parse_arguments` reads back to equal values."""
    return ", ".join(f"{key}={value}" for key, value in _rendered(arguments, ""))


def split_pieces(text: str) -> list[str]:
    """Split at the commas and newlines outside quotes and brackets; empty pieces are dropped."""
    pieces, start, depth, position = [], 0, 0, 0
    while position < len(text):
        char = text[position]
        if char in "\"'":
            position = _end_of_string(text, position)
            continue
        if char in _OPEN:
            depth += 1
        elif char in _CLOSE:
            depth = max(0, depth - 1)
        elif char in ",\n" and depth == 0:
            pieces.append(text[start:position])
            start = position + 1
        position += 1
    pieces.append(text[start:])
    return [piece.strip() for piece in pieces if piece.strip()]


def freeze(arguments: Mapping[str, object]) -> Mapping[str, object]:
    """Copy nested arguments into mappings and tuples that cannot be changed."""
    return MappingProxyType({key: _frozen(value) for key, value in arguments.items()})


def render_value(value: object) -> str:
    """Write one value as TOML on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(k)}={render_value(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(render_value(item) for item in value) + "]"
    return str(tomli_w.dumps({"v": value})).removeprefix("v = ").rstrip("\n")


def _end_of_string(text: str, start: int) -> int:
    quote = text[start]
    width = 3 if text.startswith(quote * 3, start) else 1
    position = start + width
    while position < len(text):
        if text[position] == "\\" and quote == '"':
            position += 2
        elif text.startswith(quote * width, position):
            return position + width
        else:
            position += 1
    return len(text)


def _parse_piece(piece: str) -> dict[str, object]:
    key, equals, value = (part.strip() for part in piece.partition("="))
    if not equals or not key or key.startswith(("[", "#")):
        raise ValueError("expected key=value, such as beta=0.2")
    if not value:
        raise ValueError(f"no value after '='; write {key}=VALUE")
    try:
        parsed: dict[str, object] = tomllib.loads(piece)
    except tomllib.TOMLDecodeError:
        if not _BARE_WORD.fullmatch(value):
            raise ValueError(
                "the value is not TOML: a number (0.2), true or false, or a text in double quotes"
            ) from None
        try:
            parsed = tomllib.loads(f'{key} = "{value}"')
        except tomllib.TOMLDecodeError:
            raise ValueError(
                "the key may hold letters, digits, '-' and '_', with dots between parts"
            ) from None
    for leaf in _leaves(parsed):
        if isinstance(leaf, float) and not math.isfinite(leaf):
            raise ValueError(f"{leaf} is not a finite number")
        if not isinstance(leaf, str | int | float):
            raise ValueError("dates and times are not allowed; write them as a text in quotes")
    return parsed


def _merge(into: dict[str, object], new: Mapping[str, object], prefix: str) -> None:
    for key, value in new.items():
        known = into.get(key)
        if isinstance(known, dict) and isinstance(value, Mapping):
            _merge(known, value, f"{prefix}{key}.")
        elif key in into:
            raise ValueError(f"'{prefix}{key}' is given twice")
        else:
            into[key] = value


def _leaves(value: object) -> Iterator[object]:
    if isinstance(value, Mapping):
        for item in value.values():
            yield from _leaves(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _leaves(item)
    else:
        yield value


def _frozen(value: object) -> object:
    if isinstance(value, Mapping):
        return freeze(value)
    return tuple(map(_frozen, value)) if isinstance(value, list | tuple) else value


def _rendered(arguments: Mapping[str, object], prefix: str) -> Iterator[tuple[str, str]]:
    for key, value in arguments.items():
        if isinstance(value, Mapping) and value:
            yield from _rendered(value, f"{prefix}{_key(key)}.")
        else:
            yield f"{prefix}{_key(key)}", render_value(value)


def _key(name: str) -> str:
    return name if _BARE_KEY.fullmatch(name) else render_value(name)


def _shown(piece: str) -> str:
    text = mask_piece(piece)
    return repr(text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}...")
