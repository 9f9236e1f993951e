"""Where the embeddings of rows come from: a column, a frozen model, or the inputs alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from clients.data.columns import require_column
from clients.data.examples import Examples
from clients.data.texts import plain_texts
from models.checkpoint import fingerprint, resolve_checkpoint
from models.errors import DataError
from models.files import state_folder
from models.tasks import Kind, positions_of, read_config

if TYPE_CHECKING:
    from clients.data.examples import Table
    from clients.preparation import Inputs

Embeddings = npt.NDArray[np.floating]
_BATCH = 64
_LONGEST = 128
_SIDE = 16
_TERMS, _TOPICS = 20_000, 50


@dataclass(frozen=True)
class Source:
    """Where embeddings come from.

    Attributes
    ----------
    column : str
        Column that holds them; goes before the rest.
    model : str
        Frozen base whose last hidden state is averaged over the positions of a row.
    """

    column: str = ""
    model: str = ""

    @classmethod
    def of(cls, args: Mapping[str, Any]) -> Source:
        """Read a partition's arguments."""
        return cls(str(args.get("column", "")), str(args.get("model", "")))

    @property
    def name(self) -> str:
        """What tells its embeddings from others'."""
        if self.column:
            return f"column {self.column}"
        return f"model {fingerprint(self._folder, _bases())}" if self.model else "inputs"

    @cached_property
    def _folder(self) -> Path:
        found = resolve_checkpoint(self.model, _bases())
        if found is None:
            raise DataError(
                f"partition 'embeddings': model = '{self.model}' is made for each run anew; name a "
                "folder, a Hugging Face name or pkg:PACKAGE/PATH, or leave model out"
            )
        return found

    def embeddings(self, table: Table, seed: int) -> Embeddings:
        """Return one embedding a row of a table, shape (rows, width)."""
        if self.column:
            return _of_column(table, self.column)
        examples = Examples(table, np.arange(len(table)), "the data set")
        if self.model:
            return FrozenFeatures(self._folder, table.columns.kind).of(examples)
        kind = table.columns.kind
        return _of_images(examples) if kind == "image" else _of_texts(plain_texts(examples), seed)


def lengths(table: Table) -> npt.NDArray[np.float64]:
    """Return the number of characters of each row's text, shape (rows,).

    Raises
    ------
    DataError
        The rows are images.
    """
    if table.columns.kind == "image":
        raise DataError("partition 'length' needs texts, and the data are images; choose another")
    texts = plain_texts(Examples(table, np.arange(len(table)), "the data set"))
    return np.asarray([len(text) for text in texts], dtype=np.float64)


def _bases() -> Path:
    return state_folder() / "bases"


def _of_column(table: Table, column: str) -> Embeddings:
    require_column(table.dataset, column, "column in partition-args", "partition 'embeddings'")
    values = np.asarray(table.dataset.select_columns([column]).with_format("numpy")[:][column])
    if values.ndim != 2 or values.dtype.kind not in "fiu" or not np.isfinite(values).all():
        raise DataError(
            f"partition 'embeddings': column '{column}' does not hold one list of numbers a row, "
            "all of one length"
        )
    return values


class FrozenFeatures:
    """Mean of a frozen base's last hidden state over the positions that are not padding.

    Parameters
    ----------
    folder : Path
        Of the base.
    kind : str
        Of the data.
    """

    def __init__(self, folder: Path, kind: Kind) -> None:
        import torch
        import transformers

        from clients.preparation import TextPreparation, make_preparation

        transformers.utils.logging.disable_progress_bar()
        said = transformers.utils.logging.get_verbosity()
        # That the head is left out, and no pooler is there, is as it should be.
        transformers.utils.logging.set_verbosity_error()
        try:
            module = transformers.AutoModel.from_pretrained(folder, local_files_only=True)
        finally:
            transformers.utils.logging.set_verbosity(said)
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._module = module.to(self._device).eval()
        # What is said counts, chats or not: encoders have no template to write them by.
        longest = min(_LONGEST, positions_of(read_config(folder)))
        self._texts = TextPreparation(folder, longest) if kind == "causal-lm" else None
        self._preparation = self._texts or make_preparation(folder, kind, {})

    def of(self, examples: Examples) -> Embeddings:
        """Return one row an example, shape (examples, width), float32."""
        import torch

        inputs: Inputs = (
            self._preparation.inputs(examples)
            if self._texts is None
            else self._texts.of_texts(plain_texts(examples))
        )
        found = []
        with torch.inference_mode():
            for start in range(0, len(inputs), _BATCH):
                rows = np.arange(start, min(start + _BATCH, len(inputs)))
                batch = inputs.batch(rows, self._device)
                hidden = self._module(**batch).last_hidden_state.float()
                there = batch.get("attention_mask", torch.ones(hidden.shape[:2]))
                there = there.to(self._device).unsqueeze(-1).float()
                mean = (hidden * there).sum(1) / there.sum(1).clamp(min=1)
                found.append(mean.cpu().numpy())
        return np.concatenate(found)


def _of_images(examples: Examples) -> Embeddings:
    """Return each image's grey values at a small size."""
    small = (image.convert("L").resize((_SIDE, _SIDE)) for image in examples.inputs())
    return np.stack([np.asarray(image, np.float32).ravel() / 255 for image in small])


def _of_texts(texts: list[str], seed: int) -> Embeddings:
    """Return latent semantic analysis: the leading directions of weighted word counts."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.preprocessing import normalize
    from threadpoolctl import threadpool_limits

    counts = TfidfVectorizer(sublinear_tf=True, max_features=_TERMS, token_pattern=r"(?u)\b\w+\b")
    try:
        weights = counts.fit_transform(texts)
    except ValueError as error:
        raise DataError(f"partition 'embeddings': the texts hold no words ({error})") from None
    topics = min(_TOPICS, weights.shape[1] - 1)
    if topics < 1:
        return np.asarray(weights.todense())
    with threadpool_limits(limits=1):
        reduced = TruncatedSVD(topics, random_state=seed % 2**32).fit_transform(weights)
        found: Embeddings = normalize(reduced)
    return found
