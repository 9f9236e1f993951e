"""Real Flower processes: their homes, and data for two hospitals as sites and as folders."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from flower_host import FlowerHost
from PIL import Image

if not sys.platform.startswith("linux"):
    pytest.skip("processes are found again through /proc", allow_module_level=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything in this folder."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.processes)


@dataclass(frozen=True)
class Sites:
    """Handwritten digits in folders, as two hospitals and a server would hold them.

    Attributes
    ----------
    clients : Path
        ``hospital-a`` (images in a folder a class; digits 0 to 6) and ``hospital-b`` (Parquet;
        digits 3 to 9).
    public, test : Path
        The server's, images in a folder a class.
    """

    clients: Path
    public: Path
    test: Path


def _images(folder: Path, pixels: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64]) -> None:
    for number, (image, label) in enumerate(zip(pixels, labels, strict=True)):
        (folder / str(label)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / str(label) / f"{number:04d}.png")


@pytest.fixture(scope="session")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Sites:
    """Write the folders."""
    import datasets
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = (digits.images * (255 / 16)).astype(np.uint8)
    labels = digits.target.astype(np.int64)
    root = tmp_path_factory.mktemp("sites")
    found = Sites(root / "clients", root / "public", root / "test")
    order = np.random.default_rng(0).permutation(len(labels))
    public, test, a, b = order[:400], order[400:700], order[700:1000], order[1000:1300]
    a, b = a[labels[a] <= 6], b[labels[b] >= 3]
    _images(found.public, pixels[public], labels[public])
    _images(found.test, pixels[test], labels[test])
    _images(found.clients / "hospital-a", pixels[a], labels[a])
    table = datasets.Dataset.from_dict(
        {"image": [Image.fromarray(p) for p in pixels[b]], "label": labels[b].tolist()},
        features=datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")}),
    )
    (found.clients / "hospital-b").mkdir()
    table.to_parquet(found.clients / "hospital-b" / "data.parquet")
    return found


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


def metrics_of(run: Path) -> list[dict[str, object]]:
    """Return a run's rounds."""
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
