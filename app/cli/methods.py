"""``bouquet methods``: what there is to choose from, as a table or as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from app.plugins.describing import MethodCard, OptionCard, describe_method, describe_methods
from app.registry import registry
from app.settings.arguments import render_arguments


def methods_as_json(names: list[str]) -> str:
    """Return the cards of some methods, or all, and what is broken, as JSON."""
    known = registry()
    broken = [{"name": b.name, "package": str(b.package), "reason": b.reason} for b in known.broken]
    cards = [asdict(card) for card in _chosen(names)]
    return json.dumps({"methods": cards, "broken": broken}, indent=2, ensure_ascii=False)


def show_methods(names: list[str], console: Console) -> None:
    """Print the cards of some methods, or all, and what is broken and why."""
    for card in _chosen(names):
        _show(card, console)
    for broken in registry().broken:
        console.print(str(broken), style="red", markup=False, highlight=False, soft_wrap=True)


def _chosen(names: list[str]) -> list[MethodCard]:
    known = registry()
    return [describe_method(known, name) for name in names] or describe_methods(known)


def _show(card: MethodCard, console: Console) -> None:
    around = " > ..." if card.wraps else ""
    package = f" [dim]({escape(card.package)})[/dim]" if card.package else ""
    title = f"[bold]{card.name}{around}[/bold]{package}  {escape(card.about)}"
    console.print(title, highlight=False)
    rows = [
        ("paper", card.paper),
        ("travels", card.travels),
        ("needs", "; ".join(card.needs)),
        ("brings", ", ".join(f"objective='{name}'" for name in card.objectives)),
        *((f"{_assignment(option)}", option.help) for option in card.options),
    ]
    table = Table.grid(padding=(0, 2))
    table.add_column()
    table.add_column(style="cyan", min_width=18, no_wrap=True)
    table.add_column()
    for name, text in rows:
        if text or name not in ("paper", "travels", "needs", "brings"):
            table.add_row("", escape(name), escape(text))
    console.print(table, highlight=False)
    console.print()


def _assignment(option: OptionCard) -> str:
    """Return an option with its default as ``strategy-args`` takes it."""
    if option.default is None:
        return option.name
    return render_arguments({option.name: option.default})
