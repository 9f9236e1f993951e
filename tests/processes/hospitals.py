"""Handwritten digits as two hospitals and a server hold them, and reading what a run left."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import datasets
import numpy as np
import numpy.typing as npt
from PIL import Image
from sklearn.datasets import load_digits


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


def write_sites(root: Path) -> Sites:
    """Write the folders."""
    digits = load_digits()
    pixels = (digits.images * (255 / 16)).astype(np.uint8)
    labels = digits.target.astype(np.int64)
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


def metrics_of(run: Path) -> list[dict[str, object]]:
    """Return a run's rounds."""
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
