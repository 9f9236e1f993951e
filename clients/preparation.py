"""From examples to a model's inputs, decoded or tokenised once a process."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from clients.data import Examples
from clients.data.examples import Table
from clients.language.options import LanguageOptions
from clients.model_args import model_arg_errors
from models.bases.table_encoding import TableEncoding
from models.errors import ConfigurationError, ModelError
from models.tasks import Kind, read_config

Batch = dict[str, torch.Tensor]
TARGETS = "targets"
"""The name under which a batch carries the target of each token, of shape (rows, length)."""
IGNORED = -100
"""The target of a token for which nothing is to be learned."""
_EAGER_BYTES = 128 << 20


class Inputs(ABC):
    """One holder's inputs, ready to be batched.

    Attributes
    ----------
    rows : ndarray, shape (len,), or None
        Which of the holder's examples they are, or begin with; None = each one in order.
    """

    rows: npt.NDArray[np.int64] | None = None

    @abstractmethod
    def __len__(self) -> int: ...

    @property
    def examples(self) -> int:
        """How many of the holder's examples they hold."""
        return len(self)

    def mass(self, rows: npt.NDArray[np.int64]) -> int:
        """Return the number of targets that some rows have."""
        return len(rows)

    def length(self, rows: npt.NDArray[np.int64]) -> int:
        """Return how many tokens the longest of some rows has; 1 where there are none."""
        return 1

    @abstractmethod
    def batch(self, rows: npt.NDArray[np.int64], device: torch.device) -> Batch:
        """Return the model's inputs for some rows."""

    def joined(self, other: Inputs) -> Inputs:
        """Return these rows, then another's of the same preparation.

        Raises
        ------
        ModelError
            Inputs of this kind cannot be joined.
        """
        raise ModelError(f"{type(self).__name__} and {type(other).__name__} cannot be joined")


class Preparation(ABC):
    """How a base model wants its inputs."""

    @abstractmethod
    def inputs(self, examples: Examples, training: bool = False) -> Inputs:
        """Prepare a holder's examples, to be trained on or to be scored."""


class ImageInputs(Inputs):
    """Images as bytes; scaled and normalised when batched."""

    def __init__(
        self, pixels: npt.NDArray[np.uint8], scale: torch.Tensor, shift: torch.Tensor
    ) -> None:
        self._pixels = torch.from_numpy(np.ascontiguousarray(pixels))
        self._scale, self._shift = scale, shift

    def __len__(self) -> int:
        return len(self._pixels)

    def batch(self, rows: npt.NDArray[np.int64], device: torch.device) -> Batch:
        chosen = self._pixels[torch.from_numpy(rows)].to(device)
        scale, shift = self._scale.to(device), self._shift.to(device)
        return {"pixel_values": torch.addcmul(shift, chosen.to(torch.float32), scale)}

    def joined(self, other: Inputs) -> ImageInputs:
        assert isinstance(other, ImageInputs)
        pixels = torch.cat([self._pixels, other._pixels]).numpy()
        return ImageInputs(pixels, self._scale, self._shift)


class ImagePreparation(Preparation):
    """Resizing and normalising as the checkpoint's ``preprocessor_config.json`` says.

    Parameters
    ----------
    processor : mapping
        Content of ``preprocessor_config.json``; may be empty.
    channels : int
        1 (grey) or 3 (RGB).
    side : object
        The model's image size, where the processor states none.
    """

    def __init__(self, processor: Mapping[str, Any], channels: int, side: object) -> None:
        self.channels = channels
        size = processor.get("size", side)
        self.height, self.width = _height_width(size)
        crop = processor.get("crop_size")
        if processor.get("do_center_crop") and crop:
            self.height, self.width = _height_width(crop)
        self._resample = int(processor.get("resample", 2))
        mean = np.resize(processor.get("image_mean", [0.5]), self.channels)
        std = np.resize(processor.get("image_std", [0.5]), self.channels)
        factor = float(processor.get("rescale_factor", 1 / 255))
        shape = (1, self.channels, 1, 1)
        self._scale = torch.tensor(factor / std, dtype=torch.float32).view(shape)
        self._shift = torch.tensor(-mean / std, dtype=torch.float32).view(shape)
        self._tables: dict[str, _DecodedTable] = {}

    @classmethod
    def of(cls, folder: Path) -> ImagePreparation:
        """Read a checkpoint's own wishes."""
        config = read_config(folder)
        file = folder / "preprocessor_config.json"
        processor = json.loads(file.read_text()) if file.is_file() else {}
        return cls(processor, int(config.get("num_channels", 3)), config.get("image_size", 224))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an input."""
        return self.channels, self.height, self.width

    @property
    def bounds(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """What black and white are in an input, each of shape (channels, 1, 1)."""
        low, step = self._shift[0].numpy(), self._scale[0].numpy()
        return low, low + 255 * step

    def decode(self, images: Sequence[Any]) -> npt.NDArray[np.uint8]:
        """Return images as bytes, shape (n, channels, height, width)."""
        mode = "L" if self.channels == 1 else "RGB"
        out = np.empty((len(images), self.channels, self.height, self.width), dtype=np.uint8)
        for i, image in enumerate(images):
            picture = image if image.mode == mode else image.convert(mode)
            if picture.size != (self.width, self.height):
                picture = picture.resize((self.width, self.height), self._resample)
            pixels = np.asarray(picture)
            out[i] = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
        return out

    def inputs(self, examples: Examples, training: bool = False) -> ImageInputs:
        table = examples.table
        if examples.angle:  # as the pooled data: turned first, brought to size then
            pixels = self.decode(examples.inputs())
            return ImageInputs(pixels, self._scale, self._shift)
        if table.key not in self._tables:
            self._tables[table.key] = _DecodedTable(self, table)
        pixels = self._tables[table.key].rows(examples.indices)
        if examples.rotation:
            pixels = np.rot90(pixels, examples.rotation, axes=(2, 3))
        return ImageInputs(pixels, self._scale, self._shift)

    def normalised(self, examples: Examples) -> npt.NDArray[np.float32]:
        """Return all of a holder's inputs, shape (n, channels, height, width)."""
        inputs = self.inputs(examples)
        every = np.arange(len(inputs))
        values: npt.NDArray[np.float32] = inputs.batch(every, torch.device("cpu"))[
            "pixel_values"
        ].numpy()
        return values


class _DecodedTable:
    """A table's images as bytes: all at once while they are few, else row by row as asked."""

    def __init__(self, preparation: ImagePreparation, table: Table) -> None:
        self._preparation = preparation
        self._table = table
        shape = (len(table), preparation.channels, preparation.height, preparation.width)
        self._pixels: npt.NDArray[np.uint8] | None = None
        if int(np.prod(shape)) <= _EAGER_BYTES:
            column = table.columns.input
            self._pixels = preparation.decode(table.dataset.select_columns([column])[:][column])

    def rows(self, indices: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        if self._pixels is not None:
            return self._pixels[indices]
        column = self._table.columns.input
        images = self._table.dataset.select_columns([column])[indices.tolist()][column]
        return self._preparation.decode(images)


class TextInputs(Inputs):
    """Token numbers; padded to the longest of a batch."""

    def __init__(self, encoded: Sequence[Mapping[str, list[int]]], tokenizer: Any) -> None:
        self._encoded = encoded
        self._tokenizer = tokenizer

    def __len__(self) -> int:
        return len(self._encoded)

    def batch(self, rows: npt.NDArray[np.int64], device: torch.device) -> Batch:
        padded = self._tokenizer.pad([self._encoded[i] for i in rows], return_tensors="pt")
        return {name: values.to(device) for name, values in padded.items()}

    def joined(self, other: Inputs) -> TextInputs:
        assert isinstance(other, TextInputs)
        return TextInputs([*self._encoded, *other._encoded], self._tokenizer)


def load_tokenizer(folder: Path) -> Any:
    """Load a checkpoint's own tokenizer, with a token to pad by.

    Raises
    ------
    ModelError
        There is none.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise ModelError(f"'{folder}' has no tokenizer that loads: {error}") from error
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


class TextPreparation(Preparation):
    """The checkpoint's own tokenizer.

    Parameters
    ----------
    folder : Path
        The checkpoint.
    max_length : int
        Longer texts are cut; in tokens.
    """

    def __init__(self, folder: Path, max_length: int) -> None:
        self._tokenizer = load_tokenizer(folder)
        self._max_length = max_length

    def inputs(self, examples: Examples, training: bool = False) -> TextInputs:
        return self.of_texts([str(text) for text in examples.inputs()])

    def of_texts(self, texts: list[str]) -> TextInputs:
        """Tokenise texts as they stand."""
        names = list(self._tokenizer.model_input_names)
        if not texts:
            return TextInputs([], self._tokenizer)
        columns = self._tokenizer(texts, truncation=True, max_length=self._max_length)
        encoded = [
            {name: columns[name][i] for name in names if name in columns} for i in range(len(texts))
        ]
        return TextInputs(encoded, self._tokenizer)


class TableInputs(Inputs):
    """Tokens of rows, one for each column."""

    def __init__(self, tokens: npt.NDArray[np.int64]) -> None:
        self._tokens = tokens

    def __len__(self) -> int:
        return len(self._tokens)

    def batch(self, rows: npt.NDArray[np.int64], device: torch.device) -> Batch:
        return {"input_ids": torch.from_numpy(self._tokens[rows]).to(device)}

    def joined(self, other: Inputs) -> TableInputs:
        assert isinstance(other, TableInputs)
        return TableInputs(np.concatenate([self._tokens, other._tokens]))


class TablePreparation(Preparation):
    """The encoding that a base for tables brings."""

    def __init__(self, encoding: TableEncoding) -> None:
        self._encoding = encoding

    def inputs(self, examples: Examples, training: bool = False) -> TableInputs:
        return TableInputs(self._encoding.tokens(examples.cells(self._encoding.names)))


def make_preparation(
    folder: Path,
    kind: Kind,
    options: Mapping[str, object],
    task_options: Mapping[str, object] = MappingProxyType({}),
) -> Preparation:
    """Return how a checkpoint wants its inputs.

    Parameters
    ----------
    folder : Path
    kind : {"image", "text", "table", "causal-lm"}
    options : mapping
        Of `clients.model_args`.
    task_options : mapping
        Of the task.
    """
    errors = model_arg_errors(options)
    if errors:
        raise ConfigurationError([f"model-args: {error}" for error in errors])
    if kind == "image":
        return ImagePreparation.of(folder)
    if kind == "table":
        return TablePreparation(TableEncoding.of(folder))
    max_length = int(str(options.get("max-length", 128)))
    if kind == "text":
        return TextPreparation(folder, max_length)
    from clients.language.preparation import LanguagePreparation

    own = LanguageOptions.model_validate(dict(task_options))
    return LanguagePreparation(folder, max_length, own)


def _height_width(size: object) -> tuple[int, int]:
    if isinstance(size, Mapping):
        if "shortest_edge" in size:
            return int(size["shortest_edge"]), int(size["shortest_edge"])
        return int(size["height"]), int(size["width"])
    if isinstance(size, list | tuple):
        return int(size[0]), int(size[1])
    return int(str(size)), int(str(size))
