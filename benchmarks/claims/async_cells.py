"""The cells of `async.py`: populations, methods, and how far each runs."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cells import Cell, Scalar
from safetensors.numpy import load_file, save_file
from small_mnist import prepare

from models.checkpoint import install_folder

CLIENTS, STEPS, BATCH, SHAPE = 100, 4, 16, 1.5

Settings = Mapping[str, Scalar]


@dataclass(frozen=True)
class Run:
    """One method.

    Attributes
    ----------
    strategy : str
    rounds, every : int
        How many rounds, and after how many it is evaluated: rounds of unlike methods are of
        unlike length, and each runs far enough to reach the target if it ever does.
    settings : mapping
        What differs beside.
    """

    strategy: str
    rounds: int
    every: int
    settings: Settings


METHODS: Mapping[str, Run] = {
    "synchronous": Run("fedavg", 10, 1, {"closing": "all"}),
    "over-selection": Run("fedavg", 10, 1, {"closing": "first", "closing-args": "share=0.3"}),
    "FedAsync": Run("fedasync", 1000, 100, {"strategy-args": "alpha=0.6"}),
    "FedBuff": Run("fedbuff", 100, 10, {"closing-args": "size=10"}),
    "FedFix": Run("fedfix", 30, 3, {"closing-args": "seconds=0.5"}),
    "FedCompass": Run("fedcompass", 400, 40, {"strategy-args": "q-min=2, q-max=8"}),
    "async-FedStale": Run("async-fedstale", 100, 10, {"closing-args": "size=10"}),
}


def prepared(source: str, folder: Path) -> dict[str, str]:
    """Return the settings of MNIST and of a small base without a head: everybody starts at 10%."""
    paths = prepare(source, folder)
    headless = folder / "headless"
    if not headless.is_dir():
        fresh = headless.with_name(".headless")
        shutil.copytree(paths["model"], fresh, dirs_exist_ok=True)
        weights = load_file(fresh / "model.safetensors")
        body = {key: array for key, array in weights.items() if not key.startswith("classifier")}
        save_file(body, fresh / "model.safetensors", {"format": "pt"})
        install_folder(fresh, headless)
    return {**paths, "model": str(headless)}


ALPHAS = (0.1, 0.5)
TIES = ("labels", "none")


def cell_of(method: str, alpha: float, tied: str, seed: int) -> Cell:
    """Return one run.

    Parameters
    ----------
    method : str
        One of `METHODS`.
    alpha : float
        Of the Dirichlet partition.
    tied : {"none", "labels"}
        What a client's speed goes by.
    seed : int
    """
    run = METHODS[method]
    config: dict[str, Scalar] = {
        "image-column": "image",
        "label-column": "label",
        "num-clients": CLIENTS,
        "partition": "dirichlet",
        "partition-args": f"alpha={alpha}",
        "partition-seed": 0,
        "test-fraction": 0.1,
        "clock": "virtual",
        "population": "pareto",
        # The fastest client needs a second for its steps.
        "population-args": f"shape={SHAPE}, speed={STEPS * BATCH}, tied='{tied}'",
        "strategy": run.strategy,
        "adapter": "head",
        "optimizer": "sgd",
        "learning-rate": 0.005,
        "batch-size": BATCH,
        "local-steps": STEPS,
        "num-server-rounds": run.rounds,
        "evaluate-every": run.every,
        "checkpoint-every": run.rounds,
        "seed": seed,
        "device": "cpu",
        "threads": 1,
        **run.settings,
    }
    return Cell(f"{method}-dir{alpha:g}-tied-{tied}-seed{seed}", config)
