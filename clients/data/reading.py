"""Opening data: embedded sets, local files and the Hugging Face hub become tables."""

from __future__ import annotations

import glob
import hashlib
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from clients.data.columns import find_columns
from clients.data.embedded import EMBEDDED
from clients.data.examples import Table
from clients.data.labels import read_groups, read_labels
from clients.data.sources import Split, absolute_path, files_identity, find_splits
from clients.data.spec import DataSpec
from clients.data.texts import refuse_empty_texts
from models.errors import DataError
from models.fairness.counts import UNKNOWN

if TYPE_CHECKING:
    import datasets

_LOG = logging.getLogger(__name__)
_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?(:[\w.-]+)?")


def read_dataset(spec: DataSpec) -> dict[str, datasets.Dataset]:
    """Return the splits that ``spec.dataset`` names, by split name; see `read_path` for paths.

    Raises
    ------
    DataError
        If the name is none, the path relative, or the hub cannot be reached.
    """
    name = spec.dataset
    if name in EMBEDDED:
        return {"train": _named(EMBEDDED[name](), name)}
    if Path(name).is_absolute():
        return read_path(absolute_path(name, "the data set", "dataset"), f"data set '{name}'")
    if not _HUB_NAME.fullmatch(name) or name.startswith(".") or Path(name).exists():
        # Raises for every relative path, with the reason.
        absolute_path(name, "the data set", "dataset")
    return _hub(name)


def read_path(path: Path, owner: str) -> dict[str, datasets.Dataset]:
    """Return the splits of a local file or folder, by split name.

    Raises
    ------
    DataError
        If there is no data, or a file cannot be read; names owner and file.
    """
    return {name: _files(split, owner) for name, split in find_splits(path, owner).items()}


def make_table(
    dataset: datasets.Dataset, spec: DataSpec, owner: str, split: str, *, own: bool = False
) -> Table:
    """Find the columns of a split and read its labels and groups, once.

    Parameters
    ----------
    dataset : datasets.Dataset
        A whole split.
    spec : DataSpec
        Column names.
    owner : str
        Who holds the data, for messages.
    split : str
        Name of the split, part of the table's key.
    own : bool
        Whether it is a site's own data, where the groups may be unknown: without a group column
        every row's group is ``"unknown"``.

    Raises
    ------
    DataError
        If a column is missing or of the wrong type, or a label, an input or a response is empty.
    """
    import datasets

    unknown = tuple(c for c in spec.group_columns if own and c not in dataset.column_names)
    for column in unknown:
        _LOG.warning("%s: no column '%s' (group-columns): its groups are unknown", owner, column)
    known = tuple(c for c in spec.group_columns if c not in unknown)
    columns = find_columns(dataset, replace(spec, group_columns=known), owner)
    key = f"{dataset._fingerprint}:{split}:{','.join(columns.inputs)}"
    if columns.kind == "image" and not isinstance(dataset.features[columns.input], datasets.Image):
        dataset = dataset.cast_column(columns.input, datasets.Image())
    nobody = np.full(len(dataset), UNKNOWN)
    groups = {
        column: nobody if column in unknown else read_groups(dataset, column, owner)
        for column in spec.group_columns
    }
    if columns.kind == "causal-lm":
        refuse_empty_texts(dataset, columns, owner)
        return Table(dataset, columns, key, np.zeros(len(dataset), np.int32), (), groups)
    # A table's empty cell is a value of its own; an empty text or image is none.
    empty = dataset.data.column(columns.input).null_count if columns.kind != "table" else 0
    if empty:
        raise DataError(
            f"{owner}: column '{columns.input}' is empty in {empty} of {len(dataset)} rows; "
            "remove those rows"
        )
    codes, names = read_labels(dataset, columns.label, owner)
    return Table(dataset, columns, key, codes, names, groups)


def _files(split: Split, owner: str) -> datasets.Dataset:
    import datasets

    if split.format == "image":
        return _named(_images(split, owner), files_identity(split.files))
    names = [str(file) for file in split.files]
    try:
        if split.format == "csv":
            dataset = _csv(names)
        else:
            # Names are taken for patterns: a folder called "site [1]" would match nothing.
            patterns = [glob.escape(name) for name in names]
            with quiet():
                dataset = datasets.load_dataset(split.format, data_files=patterns, split="train")
    # Whatever a damaged file raises, from whichever reader, the person must learn which file.
    except Exception as error:
        listed = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
        raise DataError(
            f"{owner}: cannot read {listed} as {split.format}: {_root_cause(error)}"
        ) from error
    if len(dataset) == 0:
        raise DataError(f"{owner}: no rows in {names[0]}; a data file needs some")
    return _named(dataset, files_identity(split.files))


def _csv(names: list[str]) -> datasets.Dataset:
    """Read CSV files whole.

    The reader of `datasets` infers types block by block, so it fails on labels that turn from
    ``1, 2`` to ``a, b`` midway, and it takes a label called ``None`` or ``NA`` for a missing one.
    """
    import datasets
    import pandas as pd

    frames = [
        pd.read_csv(name, keep_default_na=False, na_values=[""], low_memory=False) for name in names
    ]
    return datasets.Dataset.from_pandas(pd.concat(frames, ignore_index=True), preserve_index=False)


def _images(split: Split, owner: str) -> datasets.Dataset:
    """Return images labelled by the folder they lie in; files stay where they are."""
    import datasets

    names = sorted({file.parent.name for file in split.files})
    depths = {len(file.parts) for file in split.files}
    if len(depths) > 1:
        raise DataError(
            f"{owner}: images lie at different depths, for instance {split.files[0]} and "
            f"{split.files[-1]}; put every image into one subfolder named after its class"
        )
    features = datasets.Features(image=datasets.Image(), label=datasets.ClassLabel(names=names))
    code = {name: number for number, name in enumerate(names)}
    return datasets.Dataset.from_dict(
        {
            "image": [str(file) for file in split.files],
            "label": [code[file.parent.name] for file in split.files],
        },
        features=features,
    )


def _hub(name: str) -> dict[str, datasets.Dataset]:
    import datasets

    repository, _, configuration = name.partition(":")
    try:
        with quiet():
            loaded = datasets.load_dataset(repository, configuration or None)
    except Exception as error:
        raise DataError(
            f"data set '{name}' could not be loaded from the Hugging Face hub: "
            f"{_root_cause(error)}. Check the name and the network; without a network give the "
            "absolute path of a local folder with Parquet, CSV or JSON lines files instead "
            "(dataset = '/path/to/folder'), or use dataset = 'digits'"
        ) from error
    return {
        str(split): _named(
            dataset, hashlib.sha256(f"{name}\x1f{dataset._fingerprint}".encode()).hexdigest()[:24]
        )
        for split, dataset in cast("datasets.DatasetDict", loaded).items()
    }


def _named(dataset: datasets.Dataset, identity: str) -> datasets.Dataset:
    """Give a data set a fingerprint that every process computes alike."""
    dataset._fingerprint = identity
    return dataset


@contextmanager
def quiet() -> Iterator[None]:
    """Hide progress bars: many workers would write theirs into one log."""
    import datasets

    if datasets.are_progress_bars_disabled():
        yield
        return
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        datasets.enable_progress_bars()


def _root_cause(error: BaseException) -> str:
    """Return one line of the innermost error: the outer ones only say that reading failed."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = " ".join(str(error).split()) or "no message"
    return f"{type(error).__name__}: {text[:300]}"
