"""MNIST in parts for a claim, and a small base: a ViT pretrained on rows that no client holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from models.checkpoint import install_folder
from models.files import write_json
from models.randomness import derive_generator

SHARE, PUBLIC, SERVER = 0.2, 1000, 500
STEPS, BATCH, RATE = 600, 64, 2e-3


def prepare(source: str, folder: Path) -> dict[str, str]:
    """Write the clients' rows and the base, unless they are there, and return their settings.

    Parameters
    ----------
    source : str
        Folder with ``train*.parquet`` and ``test*.parquet``, or a Hugging Face name; the columns
        are ``image`` and ``label``.
    folder : Path
        Gets ``data`` (a fifth of all rows, for the clients, and a small test set for the server)
        and ``base``.
    """
    data, base = folder / "data", folder / "base"
    if not (data.is_dir() and base.is_dir()):
        _write(source, data, base)
    return {"dataset": str(data), "model": str(base)}


def _write(source: str, data: Path, base: Path) -> None:
    import datasets

    if Path(source).is_dir():
        files = {split: f"{source}/{split}*.parquet" for split in ("train", "test")}
        splits = datasets.load_dataset("parquet", data_files=files)
    else:
        splits = datasets.load_dataset(source)
    rows = datasets.concatenate_datasets([splits["train"], splits["test"]])
    rows = rows.select_columns(["image", "label"])
    order = derive_generator(0, "claims", "mnist").permutation(len(rows))
    clients = int(SHARE * len(rows))
    ends = np.cumsum([clients, PUBLIC, SERVER])
    parts = [rows.select(part) for part in np.split(order, ends)[:3]]
    base.parent.mkdir(parents=True, exist_ok=True)
    _pretrain(parts[1], base)
    fresh = data.with_name(".data")
    fresh.mkdir(exist_ok=True)
    parts[0].to_parquet(fresh / "train.parquet")
    parts[2].to_parquet(fresh / "test.parquet")
    install_folder(fresh, data)


def _pretrain(rows: object, base: Path) -> None:
    """Train a ViT of two layers on four patches an image: small, so that a table is affordable."""
    import torch
    from transformers import ViTConfig, ViTForImageClassification

    from models.bases.tiny_vit import IMAGE_SIZE, image_processor

    torch.set_num_threads(1)  # the same bits whatever the number of cores
    names = [str(digit) for digit in range(10)]
    config = ViTConfig(
        hidden_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=96,
        image_size=IMAGE_SIZE,
        patch_size=14,
        num_channels=1,
        num_labels=10,
        id2label=dict(enumerate(names)),
        label2id={name: digit for digit, name in enumerate(names)},
    )
    pixels = np.stack([np.asarray(image) for image in rows["image"]])  # type: ignore[index]
    x = torch.from_numpy(pixels).float().div(127.5).sub(1).unsqueeze(1)
    y = torch.tensor(rows["label"])  # type: ignore[index]
    torch.manual_seed(0)
    model = ViTForImageClassification(config).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=STEPS)
    generator = derive_generator(0, "claims", "base")
    for _ in range(STEPS):
        batch = torch.from_numpy(generator.integers(0, len(y), BATCH))
        optimizer.zero_grad()
        logits = model(pixel_values=x[batch]).logits
        loss = torch.nn.functional.cross_entropy(logits, y[batch])
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    fresh = base.with_name(".base")
    model.save_pretrained(fresh)
    write_json(fresh / "preprocessor_config.json", image_processor())
    install_folder(fresh, base)
