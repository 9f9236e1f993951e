"""The embedded base: a small vision transformer, pretrained once on public images.

28 x 28 pixels, patches of 7, hidden size 64, 4 layers, 4 heads, MLP 128: about 140,000 weights.
Variants have another hidden size or number of layers.
The server trains it on a public share of the data that no client holds, and keeps it by the
fingerprint of what it was trained on.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from models.bases.pretraining import fit, kept
from models.bases.variants import TINY_VIT
from models.files import write_json
from models.randomness import derive_generator, derive_seed

IMAGE_SIZE = 28
WIDTH, DEPTH = 64, 4
_RECIPE = 1  # raised whenever the pretraining below changes, so that no old base is reused


def image_processor() -> dict[str, object]:
    """Return the content of ``preprocessor_config.json`` (a ViTImageProcessor's)."""
    return {
        "image_processor_type": "ViTImageProcessor",
        "do_resize": True,
        "size": {"height": IMAGE_SIZE, "width": IMAGE_SIZE},
        "resample": 2,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [0.5],
        "image_std": [0.5],
    }


def pretrained(
    pixels: npt.NDArray[np.float32],
    targets: npt.NDArray[np.int64],
    labels: tuple[str, ...],
    seed: int,
    bases: Path,
    *,
    steps: int = 400,
    width: int = 0,
    depth: int = 0,
) -> Path:
    """Return the folder of a tiny ViT pretrained on these images, training it if it is new.

    Parameters
    ----------
    pixels : ndarray, shape (n, channels, 28, 28)
        Normalised as `image_processor` says.
    targets : ndarray, shape (n,)
        Class numbers.
    labels : tuple of str
        Class names.
    seed : int
        Of the weights and of the order of images.
    bases : Path
        Folder that keeps bases by fingerprint.
    steps : int
        Optimiser steps of 64 images, AdamW with a one-cycle learning rate.
    width, depth : int
        Hidden size and layers; 0 = 64 and 4. The MLP is twice as wide.

    Returns
    -------
    Path
        ``bases/FINGERPRINT`` with configuration, weights and image processor.
    """
    recipe = hashlib.sha256(pixels.tobytes() + targets.tobytes())
    sizes = (width or WIDTH, depth or DEPTH)
    other = sizes if sizes != (WIDTH, DEPTH) else ()
    recipe.update(repr((labels, seed, steps, _RECIPE, torch.__version__, *other)).encode())

    def save(folder: Path) -> None:
        _train(pixels, targets, labels, seed, steps, *sizes).save_pretrained(folder)
        write_json(folder / "preprocessor_config.json", image_processor())

    return kept(TINY_VIT, recipe.hexdigest(), bases, save)


def _train(
    pixels: npt.NDArray[np.float32],
    targets: npt.NDArray[np.int64],
    labels: tuple[str, ...],
    seed: int,
    steps: int,
    width: int,
    depth: int,
) -> Any:
    import transformers
    from transformers import ViTConfig, ViTForImageClassification

    transformers.utils.logging.disable_progress_bar()

    config = ViTConfig(
        hidden_size=width,
        num_hidden_layers=depth,
        num_attention_heads=4,
        intermediate_size=2 * width,
        image_size=IMAGE_SIZE,
        patch_size=7,
        num_channels=pixels.shape[1],
        num_labels=len(labels),
        id2label=dict(enumerate(labels)),
        label2id={name: i for i, name in enumerate(labels)},
    )
    torch.manual_seed(derive_seed(seed, "tiny-vit", "weights"))
    model: Any = ViTForImageClassification(config)
    order = derive_generator(seed, "tiny-vit", "batches")
    x = torch.from_numpy(pixels)
    return fit(model, lambda rows: {"pixel_values": x[rows]}, targets, order, steps)
