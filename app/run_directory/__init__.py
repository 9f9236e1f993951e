"""The run directory: everything a run leaves behind."""

from __future__ import annotations

from app.run_directory.directory import ARTIFACTS, RunDirectory
from app.run_directory.results import Results

__all__ = ["ARTIFACTS", "Results", "RunDirectory"]
