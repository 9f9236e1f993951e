"""Pieces of Markdown."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence

from app.plugins.describing import OptionCard

_SPECIAL = re.compile(r"[\\*_\[\]<>|]")
_ADDRESS = re.compile(r"https://(?:arxiv\.org/abs/)?(\S+)")


def plain(text: str) -> str:
    """Return a text as Markdown that shows it as it is; backticks keep their meaning."""
    parts = re.split(r"(`[^`]*`)", " ".join(text.split()))
    return "".join(p if p.startswith("`") else _SPECIAL.sub(r"\\\g<0>", p) for p in parts)


def linked(text: str) -> str:
    """Return a text whose addresses are links; those of arXiv are named by their number."""
    words = []
    for word in text.split():
        found = _ADDRESS.fullmatch(word)
        words.append(f"[{found[1]}]({word})" if found else plain(word))
    return " ".join(words)


def code(value: object) -> str:
    """Return a value as TOML writes it, as code; nothing for None."""
    if value is None:
        return ""
    if isinstance(value, tuple | frozenset):
        value = list(value)
    return f"`{json.dumps(value, ensure_ascii=False)}`"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table whose cells are Markdown already."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def option_table(options: Iterable[OptionCard]) -> str:
    """Return a table of options with their defaults; empty if there are none."""
    rows = [[f"`{o.name}`", code(o.default), plain(o.allowed), plain(o.help)] for o in options]
    return table(["option", "default", "allowed", "what it does"], rows) if rows else ""


def page(*parts: str) -> str:
    """Join the parts of a page, paragraph by paragraph; empty ones are left out."""
    return "\n\n".join(part for part in parts if part) + "\n"
