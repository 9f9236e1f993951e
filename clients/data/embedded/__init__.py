"""Data sets that come with scikit-learn or with us, for runs without files or a network."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import datasets

_DIGITS_MAXIMUM = 16
_PARITIES, _INKS = ("even", "odd"), ("light", "medium", "heavy")
_OUTLINES = ("plain", "medium", "ragged")


def _shakespeare() -> datasets.Dataset:
    """Return 1,439 speeches of 20 speakers of Shakespeare's, which are in the public domain.

    Beside its text each has its speaker and the part of the Folio that it is from: tragedy, comedy
    or history.
    """
    import datasets

    lines = (Path(__file__).parent / "shakespeare.jsonl").read_text("utf-8").splitlines()
    return datasets.Dataset.from_list([json.loads(line) for line in lines])


def _digits() -> datasets.Dataset:
    """Return scikit-learn's 1,797 digits as 8x8 grey images.

    Beside its label each has a parity (even, odd) and an ink: the third of all digits that it falls
    into by its mean grey, for runs that need a binary task or groups and have no other data.
    """
    import datasets
    from PIL import Image
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    grey = np.rint(pixels.reshape(-1, 8, 8) * (255 / _DIGITS_MAXIMUM)).astype(np.uint8)
    features = datasets.Features(
        image=datasets.Image(),
        label=datasets.ClassLabel(names=[str(digit) for digit in range(10)]),
        parity=datasets.Value("string"),
        ink=datasets.Value("string"),
    )
    amount = pixels.mean(axis=1)
    columns = {
        "image": [Image.fromarray(image) for image in grey],
        "label": labels.tolist(),
        "parity": [_PARITIES[label % 2] for label in labels],
        "ink": [_INKS[third] for third in _thirds(amount)],
    }
    return datasets.Dataset.from_dict(columns, features=features)


def _breast_cancer() -> datasets.Dataset:
    """Return scikit-learn's 569 tumours as a table of 30 numbers, benign or malignant.

    Beside them stands an outline: the third of all that a tumour falls into by its mean fractal
    dimension, which says next to nothing of the label.
    """
    import datasets
    from sklearn.datasets import load_breast_cancer

    found = load_breast_cancer()
    names = [str(name).replace(" ", "-") for name in found.feature_names]
    dimension = found.data[:, names.index("mean-fractal-dimension")]
    columns = dict(zip(names, found.data.T.tolist(), strict=True))
    columns["outline"] = [_OUTLINES[third] for third in _thirds(dimension)]
    columns["label"] = [str(found.target_names[code]) for code in found.target]
    return datasets.Dataset.from_dict(columns)


def _thirds(values: np.ndarray) -> np.ndarray:
    """Return which third of all each value falls into: 0, 1 or 2."""
    return np.searchsorted(np.quantile(values, [1 / 3, 2 / 3]), values)


EMBEDDED: Mapping[str, Callable[[], datasets.Dataset]] = {
    "digits": _digits,
    "breast-cancer": _breast_cancer,
    "shakespeare": _shakespeare,
}
