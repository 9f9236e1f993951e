"""The command ``bouquet`` and what it can do."""

from app.cli.commands import main

__all__ = ["main"]
