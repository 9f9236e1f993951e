"""What tests of whole runs ask for by name."""

from __future__ import annotations

import pytest


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the report out: drawing takes seconds."""
    monkeypatch.setattr("app.report.write_report", lambda folder: folder / "report.html")
