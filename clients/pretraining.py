"""Embedded bases out of public examples."""

from __future__ import annotations

from pathlib import Path

import torch

from clients.data import Examples, order_labels
from clients.data.texts import plain_texts
from clients.preparation import ImagePreparation
from models.bases import tiny_llama, tiny_table, tiny_vit
from models.bases.variants import TINY_LLAMA, TINY_TABLE, TINY_VIT, Variant
from models.errors import DataError

_KINDS = {TINY_VIT: "image", TINY_TABLE: "table", TINY_LLAMA: "causal-lm"}


def pretrain(variant: Variant, public: Examples, seed: int, bases: Path) -> Path:
    """Return the folder of an embedded base, pretraining it if it is new.

    Parameters
    ----------
    variant : Variant
        An embedded one.
    public : Examples
        Those that no client holds.
    seed : int
    bases : Path
        Folder that keeps bases by fingerprint.

    Raises
    ------
    DataError
        The public examples are of another kind than the base takes.
    """
    kind = _KINDS[variant.model]
    if public.columns.kind != kind:
        raise DataError(
            f"model '{variant}' is pretrained on public data of kind {kind}, and public-data gives "
            f"{public.columns}; give others"
        )
    sizes = {"width": variant.width, "depth": variant.depth}
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # the same bits whatever the number of cores
    try:
        if kind == "causal-lm":
            return tiny_llama.pretrained(plain_texts(public), seed, bases, **sizes)
        labels = order_labels(public.label_counts())
        targets = public.label_ids(labels)
        if kind == "table":
            cells = public.cells(public.columns.inputs)
            return tiny_table.pretrained(cells, targets, labels, seed, bases, **sizes)
        first = public.inputs([0])[0]
        channels = 1 if first.mode in ("1", "L", "I", "I;16", "F") else 3
        processor, side = tiny_vit.image_processor(), tiny_vit.IMAGE_SIZE
        pixels = ImagePreparation(processor, channels, side).normalised(public)
        return tiny_vit.pretrained(pixels, targets, labels, seed, bases, **sizes)
    finally:
        torch.set_num_threads(before)
