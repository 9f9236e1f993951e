"""The methods of a comparison, as ``--methods`` names them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from app.settings.arguments import split_pieces
from models.errors import ConfigurationError

_LAYER = re.compile(r"([A-Za-z][\w-]*)\s*(?:\((.*)\))?", re.DOTALL)
_PRESET = "preset:"


@dataclass(frozen=True)
class Contestant:
    """One method of a comparison.

    Attributes
    ----------
    name : str
        As it was written.
    settings : mapping of str to str
        ``strategy`` and ``strategy-args``; empty where a preset says them.
    preset : str
        Name or path of a preset; empty without one.
    """

    name: str
    settings: Mapping[str, str]
    preset: str = ""

    @property
    def slug(self) -> str:
        """The name as a part of a folder's name."""
        return re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")[:48]


LOCAL = Contestant("local", {"strategy": "local", "strategy-args": ""})
"""Each client alone: what the others are held against."""


def parse_contestants(text: str) -> list[Contestant]:
    """Read ``"fedavg, ifca(clusters=4) > fedit, preset:fairlora"``.

    Parameters
    ----------
    text : str
        Methods or compositions between commas, each method with its options in parentheses; or
        presets, of which all counts but the scenario.

    Raises
    ------
    ConfigurationError
        With one line for each that cannot be read or stands twice.
    """
    found: list[Contestant] = []
    errors: list[str] = []
    for piece in _split(text, ","):
        try:
            one = _read(piece)
        except ConfigurationError as error:
            errors.extend(error.errors)
            continue
        if any(other.name == one.name for other in found):
            errors.append(f"methods: '{one.name}' stands twice")
        found.append(one)
    if not found and not errors:
        errors.append("methods: none given; such as --methods fedavg,fedstale,flexlora")
    if errors:
        raise ConfigurationError(errors)
    return found


def _read(piece: str) -> Contestant:
    if piece.startswith(_PRESET):
        return Contestant(piece, {}, piece.removeprefix(_PRESET).strip())
    names, options = [], []
    for layer in _split(piece, ">"):
        match = _LAYER.fullmatch(layer)
        if match is None:
            raise ConfigurationError(
                f"methods: '{layer}' is no method; write a name, with its options in parentheses, "
                "such as ifca(clusters=4) > fedit"
            )
        names.append(match[1])
        options += [f"{match[1]}.{option}" for option in split_pieces(match[2] or "")]
    settings = {"strategy": " > ".join(names), "strategy-args": ", ".join(options)}
    return Contestant(piece, settings)


def _split(text: str, mark: str) -> Iterator[str]:
    """Yield the parts between marks that are outside parentheses; empty ones are dropped."""
    depth, start = 0, 0
    for place, char in enumerate(f"{text}{mark}"):
        depth += (char in "([{") - (char in ")]}")
        if char == mark and (depth <= 0 or place == len(text)):
            part = " ".join(text[start:place].split())
            if part:
                yield part
            start = place + 1
