"""Data sets made by the tests, and a cache of Hugging Face's that is theirs alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

Rows = dict[str, list[object]]


@pytest.fixture(scope="session", autouse=True)
def datasets_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    import datasets

    patch = pytest.MonkeyPatch()
    patch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path_factory.mktemp("hf")))
    yield
    patch.undo()


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, Rows], Path]:
    """Write rows under tmp_path in the format that the suffix says."""
    import pandas as pd

    def write_rows(name: str, rows: Rows) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        frame = pd.DataFrame(rows)
        if path.suffix == ".parquet":
            frame.to_parquet(path)
        elif path.suffix == ".csv":
            frame.to_csv(path, index=False)
        else:
            frame.to_json(path, orient="records", lines=True)
        return path

    return write_rows


def texts(count: int, labels: list[object]) -> Rows:
    """Rows of text with the labels in turn."""
    return {
        "text": [f"sentence {row}" for row in range(count)],
        "label": [labels[row % len(labels)] for row in range(count)],
    }


@pytest.fixture
def make_texts() -> Callable[[int, list[object]], Rows]:
    return texts


@pytest.fixture
def image_folder(tmp_path: Path) -> Callable[..., Path]:
    """Write grey 4x4 pictures whose value is their number, one subfolder a class."""
    from PIL import Image

    def write_images(name: str, classes: dict[str, int], suffix: str = ".png") -> Path:
        number = 0
        for label, count in classes.items():
            folder = tmp_path / name / label
            folder.mkdir(parents=True, exist_ok=True)
            for _ in range(count):
                Image.new("L", (4, 4), number).save(folder / f"test_{number:03d}{suffix}")
                number += 1
        return tmp_path / name

    return write_images
