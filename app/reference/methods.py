"""The page of all methods that are built in."""

from __future__ import annotations

from app.plugins.describing import MethodCard, describe_methods
from app.reference.markdown import linked, option_table, page, plain
from app.reference.presets import Preset, read_presets
from app.registry import Registry


def methods_page() -> str:
    """Return every built-in method: what it does, paper, what travels, needs, options, presets."""
    registry, presets = Registry(), read_presets()
    parts = [
        "# Methods",
        "Written in `strategy`, outermost first: `fedopt > fedavg`; options in `strategy-args`. "
        "`> ...` goes around another method. `bouquet methods` lists those of installed packages "
        "too. Which one to take is in [methods](../methods.md) and [choosing](../choosing.md).",
    ]
    for card in describe_methods(registry):
        module = registry.server_half(card.name).__module__.replace(".", "/")
        parts += _section(card, f"{module}.py", presets)
    return page(*parts)


def _section(card: MethodCard, file: str, presets: list[Preset]) -> list[str]:
    around = " > ..." if card.wraps else ""
    facts = {
        "written": f"`{card.name}{around}`",
        "paper": linked(card.paper),
        "travels": plain(card.travels),
        "needs": "; ".join(map(plain, card.needs)),
        "presets": ", ".join(p.link for p in presets if card.name in p.methods),
        "code": f"`{file}`",
    }
    told = "\n".join(f"- {name}: {text}" for name, text in facts.items() if text)
    return [f"## {card.name}", plain(card.about), told, option_table(card.options)]
