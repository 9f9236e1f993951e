"""How a causal language model wants its inputs."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from clients.data import Examples
from clients.data.texts import texts_of
from clients.language.encoding import TextEncoder, Tokens
from clients.language.inputs import PackedInputs, TokenInputs
from clients.language.options import LanguageOptions
from clients.preparation import Inputs, Preparation, load_tokenizer
from models.errors import DataError, ModelError
from models.tasks import positions_of, read_config, vocabulary_of

_LOG = logging.getLogger(__name__)


class LanguagePreparation(Preparation):
    """The checkpoint's own tokenizer and chat template.

    Parameters
    ----------
    folder : Path
        The checkpoint.
    max_length : int
        Longest text, in tokens; not beyond the model's positions.
    options : LanguageOptions

    Attributes
    ----------
    positions : int
        The most tokens that the model reads and writes.
    """

    def __init__(self, folder: Path, max_length: int, options: LanguageOptions) -> None:
        self.encoder = TextEncoder(load_tokenizer(folder), options)
        self.options = options
        config = read_config(folder)
        self.positions = positions_of(config)
        self._folder, self._vocabulary = folder, vocabulary_of(config)
        self.max_length = min(max_length, self.positions)

    def inputs(self, examples: Examples, training: bool = False) -> Inputs:
        """Tokenise; texts without a token to learn are left out, and long ones as they should.

        Raises
        ------
        DataError
            A text is too long, and ``too-long='refuse'``; names owner, number and longest. Or
            nothing is left to learn.
        ModelError
            The tokenizer is another model's.
        """
        every = self.encoder.encode(texts_of(examples), examples.owner)
        self._refuse_unknown(every)
        self._tell_long(every, examples.owner)
        width = self.max_length
        texts = [Tokens(text.ids[:width], text.learned[:width]) for text in every]
        dropped = self.options.too_long == "drop"
        kept = [
            number
            for number, (text, whole) in enumerate(zip(texts, every, strict=True))
            if text.targets and not (dropped and len(whole) > width)
        ]
        if every and not kept:
            raise DataError(
                f"{examples.owner}: none of {len(every)} texts has anything to learn in its first "
                f"{width} tokens: raise max-length in model-args, or leave those texts out"
            )
        if len(kept) < len(every):
            _LOG.warning(
                "%s: %d of %d texts are left out: too long, or nothing to learn in their first "
                "%d tokens",
                examples.owner,
                len(every) - len(kept),
                len(every),
                width,
            )
        chosen, rows = [texts[number] for number in kept], np.asarray(kept, np.int64)
        padding = self.encoder.tokenizer.pad_token_id or 0
        if padding >= self._vocabulary:  # added to the tokenizer alone; nobody reads it
            padding = 0
        if not (training and self.options.packing):
            return TokenInputs(chosen, rows, padding)
        groups = list(zip(*examples.group_values().values(), strict=True)) or [()] * len(examples)
        return PackedInputs(chosen, rows, [groups[number] for number in kept], width, padding)

    def _refuse_unknown(self, texts: list[Tokens]) -> None:
        largest = max((int(text.ids.max()) for text in texts if len(text)), default=0)
        if largest >= self._vocabulary:
            raise ModelError(
                f"the tokenizer in '{self._folder}' writes token {largest}, and the model there "
                f"has {self._vocabulary}; save it with its own tokenizer, or with more embeddings"
            )

    def _tell_long(self, texts: list[Tokens], owner: str) -> None:
        lengths = [len(text) for text in texts if len(text) > self.max_length]
        if not lengths:
            return
        all_of_them = self.max_length == self.positions
        limit = "the model's positions, " if all_of_them else "max-length = "
        found = (
            f"{owner}: {len(lengths)} of {len(texts)} texts are longer than {limit}"
            f"{self.max_length} tokens (the longest: {max(lengths)})"
        )
        if self.options.too_long == "refuse":
            mend = "shorten them" if all_of_them else "raise max-length in model-args"
            raise DataError(f"{found}; {mend}, or set too-long='cut' or 'drop' in task-args")
        if self.options.too_long == "cut":
            _LOG.warning("%s; they are cut there", found)
