"""The report of a run, built from its run directory alone: a page, pictures, a table, a card."""

from __future__ import annotations

from app.report.writer import write_report

__all__ = ["write_report"]
