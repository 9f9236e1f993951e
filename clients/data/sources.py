"""Where local data lies: which files make up which split, without opening them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from clients.data.labels import natural_key
from models.errors import DataError

SplitName = Literal["train", "validation", "test"]
FileFormat = Literal["parquet", "csv", "json", "image"]

TABLE_FORMATS: dict[str, FileFormat] = {
    ".parquet": "parquet",
    ".csv": "csv",
    ".json": "json",
    ".jsonl": "json",
}
IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff"})

_SPLIT_WORDS: dict[str, SplitName] = {
    "train": "train",
    "training": "train",
    "test": "test",
    "testing": "test",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
}
# Written beside the data by Hugging Face tools; they hold no rows.
_NOT_DATA = frozenset(
    {"dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json"}
)
_ALLOWED = ".parquet, .csv, .json and .jsonl files, or images in one subfolder a class"


@dataclass(frozen=True)
class Split:
    """The files of one split.

    Attributes
    ----------
    files : tuple of Path
        Absolute, in a fixed order.
    format : {"parquet", "csv", "json", "image"}
        One format a split.
    """

    files: tuple[Path, ...]
    format: FileFormat


def absolute_path(text: str, owner: str, setting: str) -> Path:
    """Return an existing absolute path.

    Raises
    ------
    DataError
        If the path is relative, or nothing is there.
    """
    path = Path(text)
    if not path.is_absolute():
        expanded = Path(text).expanduser()
        hint = f"'{expanded}'" if expanded.is_absolute() else "the full path, starting with '/'"
        raise DataError(
            f"{owner}: {setting} = '{text}' is a relative path; relative paths are refused because "
            f"the app does not run in your working directory. Give {hint}"
        )
    if not path.exists():
        raise DataError(f"{owner}: {setting} = '{text}' does not exist on this machine")
    return path


def find_splits(path: Path, owner: str) -> dict[SplitName, Split]:
    """Find the splits of a file or folder; one without named splits is all ``"train"``.

    Parameters
    ----------
    path : Path
        A table file, a folder of table files named by split (``train-0.parquet``), a folder of
        split subfolders, or an image folder with class subfolders (below split subfolders or not).
    owner : str
        Who holds the data, for messages.

    Raises
    ------
    DataError
        If no data is found, formats are mixed, or some files name a split and others do not.
    """
    if path.is_file():
        return {"train": _split([path], owner)}
    folders = {
        child: _SPLIT_WORDS[child.name.lower()]
        for child in _visible(path)
        if child.is_dir() and child.name.lower() in _SPLIT_WORDS
    }
    if folders:
        found: dict[SplitName, list[Path]] = {}
        for folder, split in folders.items():
            found.setdefault(split, []).extend(_files_below(folder))
        return {split: _split(files, owner, path) for split, files in found.items()}
    files = _files_below(path)
    if files and files[0].suffix.lower() in IMAGE_SUFFIXES:
        # Only whole split folders name splits of images: a picture may well be called test_1.png.
        return {"train": _split(files, owner, path)}
    named: dict[SplitName, list[Path]] = {}
    unnamed: list[Path] = []
    for file in files:
        word = re.split(r"[-_.]", file.name.lower(), maxsplit=1)[0]
        if word in _SPLIT_WORDS:
            named.setdefault(_SPLIT_WORDS[word], []).append(file)
        else:
            unnamed.append(file)
    if named and unnamed:
        raise DataError(
            f"{owner}: in {path} some files name a split and '{unnamed[0].name}' does not; start "
            "every file name with train, validation or test, or move the file away"
        )
    if not named:
        return {"train": _split(unnamed, owner, path)}
    return {split: _split(chosen, owner, path) for split, chosen in named.items()}


def client_folders(path: Path) -> dict[str, Path]:
    """Return the subfolders of a folder by name, in natural order: one a client."""
    if not path.is_dir():
        raise DataError(
            f"partition 'folders' wants a folder with one subfolder a client; "
            f"'{path}' is a file. Choose another partition or give its folder"
        )
    found = {child.name: child for child in _visible(path) if child.is_dir()}
    if not found:
        raise DataError(f"partition 'folders' wants one subfolder a client; '{path}' has none")
    return {name: found[name] for name in sorted(found, key=natural_key)}


def identity(path: Path) -> str:
    """Return a short digest of the files below a path: names, sizes and times of change.

    It changes whenever the data may have, and costs no reading of the data.
    """
    digest = hashlib.sha256(str(path).encode())
    for file in [path] if path.is_file() else _all_files(path):
        state = file.stat()
        digest.update(f"\x1f{file}\x1e{state.st_size}\x1e{state.st_mtime_ns}".encode())
    return digest.hexdigest()[:24]


def files_identity(files: Iterable[Path]) -> str:
    """Return the digest of exactly these files; see `identity`."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{identity(file)}\x1f".encode())
    return digest.hexdigest()[:24]


def _split(files: list[Path], owner: str, folder: Path | None = None) -> Split:
    where = folder if folder is not None else (files[0] if files else "the folder")
    formats = {_format(file) for file in files}
    known = formats - {None}
    if not known:
        raise DataError(f"{owner}: no data in {where}; it may hold {_ALLOWED}")
    if len(known) > 1:
        listed = ", ".join(sorted(str(name) for name in known))
        raise DataError(f"{owner}: {where} mixes formats ({listed}) in one split; keep one")
    (chosen,) = known
    assert chosen is not None
    return Split(tuple(files), chosen)


def _format(file: Path) -> FileFormat | None:
    suffix = file.suffix.lower()
    return "image" if suffix in IMAGE_SUFFIXES else TABLE_FORMATS.get(suffix)


def _files_below(folder: Path) -> list[Path]:
    return [
        file
        for file in _all_files(folder)
        if _format(file) is not None and file.name not in _NOT_DATA
    ]


def _all_files(folder: Path) -> list[Path]:
    """Return every visible file below a folder, ordered by path."""
    found: list[Path] = []
    for child in _visible(folder):
        found.extend(_all_files(child) if child.is_dir() else [child])
    return found


def _visible(folder: Path) -> list[Path]:
    try:
        return sorted(child for child in folder.iterdir() if not child.name.startswith((".", "__")))
    except OSError as error:
        raise DataError(f"cannot list '{folder}': {error.strerror}") from None
