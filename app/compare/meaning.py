"""What the methods of a comparison do, for those who have not met them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.compare.cells import Cell
from app.registry import registry
from app.settings import parse_run_config


@dataclass(frozen=True)
class Meaning:
    """One method in words.

    Attributes
    ----------
    method : str
        The contestant's name.
    about : str
        A line for each method of a composition, and for an objective that was named.
    papers : tuple of str
    """

    method: str
    about: str
    papers: tuple[str, ...]


def meanings(cells: Sequence[Cell]) -> list[Meaning]:
    """Return what every method of some runs does, once."""
    return list({cell.method: _meaning(cell) for cell in cells}.values())


def _meaning(cell: Cell) -> Meaning:
    settings = parse_run_config(cell.config, registry())
    known = {name: registry().server_half(name).about for name in settings.methods}
    if settings.objective:
        known[settings.objective] = registry().objectives[settings.objective].about
    papers = (registry()[name].paper for name in settings.methods)
    one = len(known) == 1
    lines = (about if one else f"{name}: {about}" for name, about in known.items())
    return Meaning(cell.method, "; ".join(lines), tuple(dict.fromkeys(papers)))
