"""The experiments of `anchors.py`: data, models and methods of each, reduced to two cores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cells import Cell
from cluster_cells import Experiment, Settings

FEATURES = 64
"""D, the length of a class row; a trained layer before the head gives every model's features it."""
VARIANTS = "variants=['tiny-vit', 'tiny-vit@width=32', 'tiny-vit@depth=2,width=96']"


@dataclass(frozen=True)
class Budget:
    """How much is computed.

    Attributes
    ----------
    rows : int
        Rows of a data set that are divided over the clients, test parts and public tenth included.
    rounds : int
    """

    rows: int
    rounds: int


FULL = Budget(rows=9000, rounds=40)
QUICK = Budget(rows=2000, rounds=10)

COMMON: Settings = {
    "image-column": "image",
    "label-column": "label",
    "num-clients": 20,
    "test-fraction": 0.5,
    "local-epochs": 1,
    "batch-size": 16,
    "optimizer": "sgd",
    "optimizer-args": "momentum=0.9",
    "learning-rate": 0.01,
    "evaluate-every": 2,
    "checkpoint-every": 1000,
    "device": "cpu",
    "threads": 1,
}
SETTINGS: Mapping[str, tuple[str, Settings]] = {
    "mnist": (
        "MNIST, the 20 clients of HtFLlib",
        {**COMMON, "partition": "natural-id", "partition-args": "column='client'"},
    ),
    "cifar10": (
        "CIFAR-10, Dirichlet 0.1 over 20 clients",
        {**COMMON, "partition": "dirichlet", "partition-args": "alpha=0.1, min-size=8"},
    ),
}
METHODS: Mapping[str, Settings] = {
    "fedsa": {"strategy": "fedsa"},
    "fedproto": {"strategy": "fedproto"},
    "fedtgp": {"strategy": "fedtgp"},
    "lg-fedavg": {"strategy": "lg-fedavg"},
    "local": {"strategy": "local"},
    "fedavg": {"strategy": "fedavg"},
}
ABOUT = {
    "one model": "All clients have the same ViT of 140,000 weights",
    "three models": "Clients have, in turn, ViTs of widths 64, 32 and 96 and depths 4, 4 and 2",
}


def experiments(budget: Budget) -> dict[str, Experiment]:
    """Return the tables by name: each data set with one model and with three."""
    found = {}
    for source, (title, settings) in SETTINGS.items():
        for models, about in ABOUT.items():
            one = models == "one model"
            model_args = f"feature-dim={FEATURES}" + ("" if one else f", {VARIANTS}")
            found[f"{source}-{models.replace(' ', '-')}"] = Experiment(
                title=f"{title}, {models}",
                source=source,
                rows=budget.rows,
                test_rows=100,
                about=about,
                settings={
                    **settings,
                    "model-args": model_args,
                    "num-server-rounds": budget.rounds,
                },
                methods={m: own for m, own in METHODS.items() if one or m != "fedavg"},
                reference="local",
            )
    return found


def cell_of(name: str, experiment: Experiment, method: str, seed: int) -> Cell:
    """Return one run of a table."""
    own = {"seed": seed, "partition-seed": seed}
    config = {**experiment.settings, **experiment.methods[method], **own}
    return Cell(f"{name}-{experiment.rows}-{method}-seed-{seed}", config)
