"""Real Flower processes: their homes, and two hospitals' data."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from flower_host import FlowerHost
from hospitals import Sites, write_sites


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything in this folder; side by side, one worker runs all of it."""
    here = Path(__file__).parent
    found = pytest.mark.skipif(
        not Path("/proc/self/environ").exists(), reason="processes are found again through /proc"
    )
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.processes)
            item.add_marker(pytest.mark.xdist_group("processes"))
            item.add_marker(found)


@pytest.fixture(scope="session")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Sites:
    return write_sites(tmp_path_factory.mktemp("sites"))


@pytest.fixture(scope="session")
def bouquet_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for bases, so that a base is pretrained once."""
    return tmp_path_factory.mktemp("bouquet")


@pytest.fixture(scope="session")
def simulator(tmp_path_factory: pytest.TempPathFactory, bouquet_home: Path) -> Iterator[FlowerHost]:
    """Flower with a home and ports of its own, and one local SuperLink for all simulations.

    The first run starts it, from this checkout; everything is ended afterwards.
    """
    made = FlowerHost(tmp_path_factory.mktemp("simulator"), bouquet_home)
    try:
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory, bouquet_home: Path) -> Iterator[FlowerHost]:
    """Another one, for a SuperLink and SuperNodes; everything is ended afterwards."""
    made = FlowerHost(tmp_path_factory.mktemp("host"), bouquet_home)
    try:
        yield made
    finally:
        made.stop()
