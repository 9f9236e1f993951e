"""The embedded base for tables: a small transformer over columns, pretrained once on public rows.

A row is a sequence: its own token, then one for each column (`models.bases.table_encoding`), whose
place says which column it is. Hidden size 64, 2 layers, 4 heads, MLP 128: about 70,000 weights and
64 for each token. As FT-Transformer (Gorishniy et al., NeurIPS 2021) the row's token gathers what
is classified; here numbers are tokens of intervals, so that the checkpoint is an ordinary BERT.

In pretraining a tenth of all cells is taken for missing: the tokens for that need training too, and
clients meet names that no public row has.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from models.bases.pretraining import fit, kept
from models.bases.table_encoding import CONFIG_KEY, TableEncoding
from models.bases.variants import TINY_TABLE
from models.randomness import derive_generator, derive_seed

WIDTH, DEPTH = 64, 2
MISSING = 0.1
_RECIPE = 1  # raised whenever the pretraining below changes, so that no old base is reused


def pretrained(
    cells: Mapping[str, Sequence[Any]],
    targets: npt.NDArray[np.int64],
    labels: tuple[str, ...],
    seed: int,
    bases: Path,
    *,
    steps: int = 600,
    width: int = 0,
    depth: int = 0,
) -> Path:
    """Return the folder of a base pretrained on these rows, training it if it is new.

    Parameters
    ----------
    cells : mapping of str to sequence
        For each column the value of each public row; None is missing.
    targets : ndarray, shape (n,)
        Class numbers.
    labels : tuple of str
        Class names.
    seed : int
        Of the weights and of the order of rows.
    bases : Path
        Folder that keeps bases by fingerprint.
    steps : int
        Optimiser steps of 64 rows, AdamW with a one-cycle learning rate.
    width, depth : int
        Hidden size and layers; 0 = 64 and 2. The MLP is twice as wide.

    Returns
    -------
    Path
        ``bases/FINGERPRINT`` with configuration, encoding and weights.
    """
    encoding = TableEncoding.learned(cells)
    tokens = encoding.tokens(cells)
    sizes = (width or WIDTH, depth or DEPTH)
    recipe = hashlib.sha256(tokens.tobytes() + targets.tobytes())
    told = (encoding.to_config(), labels, seed, steps, *sizes, _RECIPE, torch.__version__)
    recipe.update(repr(told).encode())

    def save(folder: Path) -> None:
        _train(encoding, tokens, targets, labels, seed, steps, *sizes).save_pretrained(folder)

    return kept(TINY_TABLE, recipe.hexdigest(), bases, save)


def _train(
    encoding: TableEncoding,
    tokens: npt.NDArray[np.int64],
    targets: npt.NDArray[np.int64],
    labels: tuple[str, ...],
    seed: int,
    steps: int,
    width: int,
    depth: int,
) -> Any:
    import transformers
    from transformers import BertConfig, BertForSequenceClassification

    transformers.utils.logging.disable_progress_bar()
    config = BertConfig(
        vocab_size=encoding.vocabulary,
        hidden_size=width,
        num_hidden_layers=depth,
        num_attention_heads=4,
        intermediate_size=2 * width,
        max_position_embeddings=tokens.shape[1],
        type_vocab_size=1,
        num_labels=len(labels),
        id2label=dict(enumerate(labels)),
        label2id={name: i for i, name in enumerate(labels)},
        **{CONFIG_KEY: encoding.to_config()},
    )
    torch.manual_seed(derive_seed(seed, TINY_TABLE, "weights"))
    model: Any = BertForSequenceClassification(config)
    holes = derive_generator(seed, TINY_TABLE, "holes")

    def batch(rows: npt.NDArray[np.int64]) -> dict[str, torch.Tensor]:
        chosen = tokens[rows]
        missing = holes.random((len(rows), len(encoding.columns))) < MISSING
        chosen[:, 1:] = np.where(missing, encoding.unknown, chosen[:, 1:])
        return {"input_ids": torch.from_numpy(chosen)}

    order = derive_generator(seed, TINY_TABLE, "batches")
    return fit(model, batch, targets, order, steps)
