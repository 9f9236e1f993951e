"""Handwritten digits as two sites and a server would hold them: images in a folder a class."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

SITES: Mapping[str, tuple[int, ...]] = {
    "hospital-a": (0, 1, 2, 3, 4, 5, 6),
    "hospital-b": (3, 4, 5, 6, 7, 8, 9),
}
_ALL = tuple(range(10))
_EACH = 300


def write_sites(folder: Path) -> None:
    """Write a folder a site, ``server-test`` and ``public``, no image twice; keep what is there.

    ``public`` is what the server pretrains the small base model on.
    """
    if (folder / "public").exists():
        return
    digits = load_digits()
    pixels = (digits.images * (255 / 16)).astype(np.uint8)
    order = np.random.default_rng(0).permutation(len(pixels))
    parts = {**SITES, "server-test": _ALL, "public": _ALL}
    for number, (name, classes) in enumerate(parts.items()):
        for row in order[number * _EACH : (number + 1) * _EACH]:
            label = int(digits.target[row])
            if label in classes:
                place = folder / name / str(label)
                place.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels[row]).save(place / f"{row:04d}.png")
