"""A federation that tests break."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from breakable import BreakableNodes
from breakable_runs import Federation
from flower_host import FlowerHost
from hospitals import Sites


@pytest.fixture
def federation(
    tmp_path: Path, bouquet_home: Path, sites: Sites, vit_folder: Path
) -> Iterator[Federation]:
    """A SuperLink and two hospitals' SuperNodes, anew for each test; nothing stays behind."""
    host = FlowerHost(tmp_path, bouquet_home)
    try:
        yield Federation(host, BreakableNodes(host), sites, vit_folder)
    finally:
        host.stop()
