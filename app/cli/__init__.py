"""The command line: ``bouquet run``, ``bouquet partition``, ``bouquet settings``."""

from app.cli.commands import main

__all__ = ["main"]
