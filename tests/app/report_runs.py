"""Run directories made up for the report's tests, with numbers that are known exactly."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import tomli_w

CONFIG = {
    "strategy": "fedavg",
    "strategy-args": "",
    "num-server-rounds": 10,
    "seed": 42,
    "dataset": "digits",
    "partition": "dirichlet",
    "partition-args": "alpha=0.3",
    "model": "tiny-vit",
    "adapter": "lora",
    "adapter-args": "",
    "objective": "",
    "local-epochs": 1,
    "local-steps": 0,
    "batch-size": 16,
    "learning-rate": 0.01,
    "optimizer": "adamw",
    "resume": False,
    "run-name": "",
}
COLUMNS = [
    "client", "node", "examples", "test_examples", "concept", "rounds", "last_round",
    "accuracy_before", "accuracy_after", "bytes_up", "bytes_down", "rejected",
]  # fmt: skip


def write_lines(path: Path, lines: list[dict[str, object]]) -> None:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")


def write_clients(path: Path, rows: list[dict[str, object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="")
        writer.writeheader()
        writer.writerows(rows)


def metrics_line(number: int, **said: object) -> dict[str, object]:
    line: dict[str, object] = {
        "round": number, "train_loss": None, "loss": None, "accuracy": None, "macro_f1": None,
        "client_accuracy_mean": None, "client_accuracy_median": None, "client_accuracy_std": None,
        "client_accuracy_worst": None, "client_accuracy_worst_decile": None,
        "client_loss_mean": None, "client_macro_f1_mean": None, "bytes_up": 0, "bytes_down": 0,
        "seconds": 0.0, "clients_asked": 0, "clients_answered": 0, "rejected": [],
    }  # fmt: skip
    return line | said


def minimal_run(folder: Path) -> Path:
    """One round, no server test set, no optional file."""
    folder.mkdir(parents=True)
    lines = [
        metrics_line(0, client_accuracy_mean=0.5),
        metrics_line(
            1, train_loss=0.7, client_accuracy_mean=0.625, client_accuracy_worst=0.25,
            bytes_up=2_000, bytes_down=3_000, seconds=1.5, clients_asked=2, clients_answered=2,
        ),
    ]  # fmt: skip
    write_lines(folder / "metrics.jsonl", lines)
    return folder


def full_run(
    folder: Path, clients: int = 20, rounds: int = 10, labels: int = 10, trouble: bool = False
) -> Path:
    """Server and client scores, label counts, baselines; with groups and refusals if `trouble`."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(7)
    before = np.clip(rng.normal(0.8, 0.1, clients), 0.2, 1.0)
    after = np.clip(before + rng.normal(0.1, 0.06, clients), 0.1, 1.0)
    lines = []
    for number in range(rounds + 1):
        along = 1 - np.exp(-4 * number / rounds)
        now = before + (after - before) * along
        each = 35_368 * clients if number else 0
        line = metrics_line(
            number,
            loss=0.62 - 0.3 * along, accuracy=0.83 + 0.075 * along, macro_f1=0.82 + 0.08 * along,
            client_accuracy_mean=now.mean(), client_accuracy_median=float(np.median(now)),
            client_accuracy_std=now.std(), client_accuracy_worst=now.min(),
            client_accuracy_worst_decile=np.sort(now)[: max(1, clients // 10)].mean(),
            client_loss_mean=0.7 - 0.35 * along, bytes_up=each, bytes_down=each,
            seconds=6.0 if number else 2.0, clients_asked=clients if number else 0,
            clients_answered=clients if number else 0,
        )  # fmt: skip
        if number:
            line["train_loss"] = 0.55 - 0.35 * along
        if trouble:
            _add_trouble(line, number, clients, along, rng)
        lines.append(line)
    write_lines(folder / "metrics.jsonl", lines)
    width = max(4, len(str(clients)))
    names = [f"client-{place:0{width}d}" for place in range(clients)]
    took = rng.integers(rounds // 2, rounds + 1, clients) if trouble else [rounds] * clients
    counts = [
        rng.multinomial(60 + 7 * (i % 9), rng.dirichlet([0.3] * labels)) for i in range(clients)
    ]
    rows = [
        {
            "client": name, "node": "node-0", "examples": int(counts[i].sum()),
            "test_examples": 15, "concept": "", "rounds": took[i], "accuracy_before": before[i],
            "accuracy_after": after[i], "bytes_up": 35_368 * rounds,
            "bytes_down": 35_368 * rounds, "rejected": 0,
        }
        for i, name in enumerate(names)
    ]  # fmt: skip
    write_clients(folder / "clients.csv", rows)
    known = [str(label) for label in range(labels)]
    shared = {
        name: {label: int(n) for label, n in zip(known, counts[i], strict=True) if n}
        for i, name in enumerate(names)
    }
    (folder / "labels.json").write_text(json.dumps({"labels": known, "clients": shared}))
    (folder / "config.toml").write_text(tomli_w.dumps(CONFIG))
    (folder / "status.json").write_text('{"state": "finished", "code": 0, "message": ""}')
    _baseline(folder / "baselines" / "local", rounds, None, 0.81)
    _baseline(folder / "baselines" / "global", rounds, 0.94, 0.93)
    return folder


def _baseline(folder: Path, rounds: int, server: float | None, client: float) -> None:
    folder.mkdir(parents=True)
    lines = []
    for number in range(rounds + 1):
        along = 1 - np.exp(-4 * number / rounds) if number < rounds else 1.0
        accuracy = None if server is None else 0.83 + (server - 0.83) * along
        mean = 0.8 + (client - 0.8) * along
        lines.append(
            metrics_line(number, accuracy=accuracy, client_accuracy_mean=mean, seconds=2.0)
        )
    write_lines(folder / "metrics.jsonl", lines)
    write_clients(folder / "clients.csv", [])


def _add_trouble(
    line: dict[str, object], number: int, clients: int, along: float, rng: np.random.Generator
) -> None:
    line["groups"] = {
        "sex": {
            "Female": {"accuracy": 0.71 + 0.16 * along, "examples": 412},
            "Male": {"accuracy": 0.78 + 0.14 * along, "examples": 871},
        },
        "race": {
            "Amer-Indian-Eskimo": {"accuracy": 0.74 - 0.03 * along, "examples": 21},
            "Black": {"accuracy": 0.70 + 0.15 * along, "examples": 143},
            "White": {"accuracy": 0.77 + 0.14 * along, "examples": 1_119},
        },
    }
    if not number:
        return
    refused = int(rng.integers(0, 3))
    reasons = (("schema", "expected 34 arrays, found 33"), ("not-finite", "lora_A of layer 2: NaN"))
    line["clients_answered"] = clients - refused - int(rng.integers(0, 2))
    line["rejected"] = [
        {"client": f"client-{place:04d}", "round": number, "code": code, "detail": detail}
        for place, (code, detail) in enumerate(reasons[:refused])
    ]
