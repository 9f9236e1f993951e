"""The page of the command ``bouquet``."""

from __future__ import annotations

from collections.abc import Iterator

import click
import typer

from app.cli import main
from app.reference.markdown import page, plain, table


def commands_page() -> str:
    """Return every command with its help, arguments, options and exit codes, as a page."""
    parts = ["# Commands", "`bouquet COMMAND --help` says the same."]
    for command in _commands():
        parts += _section(command)
    return page(*parts)


def _commands() -> Iterator[click.Command]:
    group = typer.main.get_command(main)
    assert isinstance(group, click.Group)
    yield from group.commands.values()


def _section(command: click.Command) -> list[str]:
    title = command.name or ""
    context = click.Context(
        command, info_name=title, parent=click.Context(command, None, "bouquet")
    )
    usage = " ".join(["bouquet", title, *command.collect_usage_pieces(context)])
    records = [p.get_help_record(context) for p in command.get_params(context)]
    # Typer escapes brackets for its own markup.
    told = [(r[0], r[1].replace("\\[", "[")) for r in records if r and r[0] != "--help"]
    rows = [[f"`{name}`", plain(text)] for name, text in told if text]
    help_text = [plain(part) for part in (command.help or "").split("\n\n")]
    options = table(["option", "what it does"], rows) if rows else ""
    return [f"## {title}", f"```\n{usage}\n```", *help_text, options, plain(command.epilog or "")]
