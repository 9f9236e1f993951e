"""What the embedded bases share: training once on public data, and being kept by fingerprint."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from models.checkpoint import fingerprint, install_folder

Chosen = npt.NDArray[np.int64]


def kept(name: str, recipe: str, bases: Path, save: Callable[[Path], None]) -> Path:
    """Return the folder of a base, making it if it is new.

    Parameters
    ----------
    name : str
        Of the kind of base.
    recipe : str
        Digest of all that it is made from.
    bases : Path
        Folder that keeps bases by fingerprint.
    save : callable
        Makes the base and writes it into a folder.
    """
    note = bases / f"{name}-{recipe[:16]}.txt"
    if note.is_file():
        known = bases / note.read_text().strip()
        if (known / "config.json").is_file():
            return known
    fresh = bases / f".{name}.{os.getpid()}"
    fresh.mkdir(parents=True, exist_ok=True)
    save(fresh)
    found = fingerprint(fresh)
    install_folder(fresh, bases / found)
    temporary = note.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_text(found)
    temporary.replace(note)
    return bases / found


def fit(
    model: Any,
    batch: Callable[[Chosen], Mapping[str, torch.Tensor]],
    targets: npt.NDArray[np.int64],
    order: np.random.Generator,
    steps: int,
) -> Any:
    """Train a classifier whole: AdamW, a one-cycle learning rate, 64 examples a step."""
    rate = 2e-3
    optimiser = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps)
    y = torch.from_numpy(targets)
    model.train()
    for _ in range(steps):
        rows = order.integers(0, len(y), size=min(64, len(y)))
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(**batch(rows)).logits, y[rows])
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
    return model.eval()
