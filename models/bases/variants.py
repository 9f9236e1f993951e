"""Variants of a base model: ``tiny-vit@width=32,depth=2``, or ``pkg:NAME/model@depth=3``.

A variant is written as the model's name and, after ``@``, what differs: ``depth`` keeps the first
layers of the same weights, ``width`` is for the embedded models, which are pretrained at that size.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from models.errors import ModelError

TINY_VIT, TINY_TABLE, TINY_LLAMA = "tiny-vit", "tiny-table", "tiny-llama"
EMBEDDED = (TINY_VIT, TINY_TABLE, TINY_LLAMA)
_OPTIONS = re.compile(r"[\w-]+=[^,=/]*(,[\w-]+=[^,=/]*)*")
_HEADS = 4


@dataclass(frozen=True)
class Variant:
    """A base model and what of it differs.

    Attributes
    ----------
    model : str
        As in the setting `model`.
    width : int
        Hidden size; 0 = the model's own.
    depth : int
        Layers, counted from the input; 0 = all.
    """

    model: str
    width: int = 0
    depth: int = 0

    @classmethod
    def parse(cls, text: str) -> Variant:
        """Read what `__str__` writes; without ``@`` it is the model as it is.

        Raises
        ------
        ModelError
            An option that there is not, or a number that does not fit.
        """
        name, at, options = text.rpartition("@")
        if not at or not _OPTIONS.fullmatch(options):
            return cls(text)
        given: dict[str, int] = {}
        for option in options.split(","):
            key, _, value = option.partition("=")
            if key not in ("width", "depth") or key in given:
                raise ModelError(
                    f"model '{text}': '{option}' is not understood; after '@' come width=N "
                    f"({' and '.join(EMBEDDED)} only) and depth=N, each once"
                )
            if not value.isdecimal() or not 1 <= int(value) <= 4096:
                raise ModelError(f"model '{text}': {key} is a whole number from 1 to 4096")
            given[key] = int(value)
        found = cls(name, **given)
        if found.width and not found.embedded:
            raise ModelError(
                f"model '{text}': only {' and '.join(EMBEDDED)} come in other widths; depth=N cuts "
                "any model"
            )
        if found.width % _HEADS:
            raise ModelError(f"model '{text}': width is a multiple of {_HEADS}, the heads")
        return found

    @property
    def embedded(self) -> bool:
        """Whether the model is pretrained here, on public data."""
        return self.model in EMBEDDED

    def __str__(self) -> str:
        """Return the variant as it is written in settings."""
        options = [f"{k}={v}" for k, v in (("width", self.width), ("depth", self.depth)) if v]
        return f"{self.model}@{','.join(options)}" if options else self.model
