"""Clients trained a second: a bare loop, a plain Flower app, and ours under ``flwr run``.

500 clients of 64 images of 28 x 28 pixels; ViT (hidden 64, 4 layers, 4 heads, MLP 128, patch 7)
with LoRA r=8 on query and value and the head, 8,842 trained numbers; batches of 32, one epoch of
SGD; 100 clients a round. Two workers of one thread each.

(a) bare: as many processes as workers, model and data in memory, no framework;
(b) plain: a Flower app as Flower's templates write it: one client a SuperNode, the model rebuilt
    for each message, rows decoded by a DataLoader; with one CPU a client as (c), or with Flower's
    default of two;
(c) ours: two SuperNodes that host 250 clients each.

The first round is left out everywhere: it loads models and data.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from workload import (
    CLIENTS,
    IMAGES,
    LEARNING_RATE,
    ROOT,
    Flower,
    adapted,
    cohort,
    make_data,
    make_vit,
)

PLAIN_CLIENT = """
import numpy as np, torch
from datasets import load_dataset
from flwr.app import ArrayRecord, MetricRecord, Message, RecordDict
from flwr.clientapp import ClientApp
from workload import IMAGES, LEARNING_RATE, TESTS, adapted
app = ClientApp()
rows = None

def to_tensors(batch):
    pixels = [torch.from_numpy(np.array(image)) for image in batch["image"]]
    batch["image"] = [p.float().div(127.5).sub(1).unsqueeze(0) for p in pixels]
    return batch

def load_data(folder, client):
    global rows
    if rows is None:
        files = {"train": folder + "/data/train.parquet"}
        rows = load_dataset("parquet", data_files=files)["train"]
    # The file holds the clients one after the other, IMAGES + TESTS rows each.
    first = client * (IMAGES + TESTS)
    part = rows.select(range(first, first + IMAGES)).with_transform(to_tensors)
    return torch.utils.data.DataLoader(part, batch_size=32, shuffle=True)

@app.train()
def fit(message, context):
    folder = context.run_config["folder"]
    model = adapted(folder)
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    for name, array in message.content["arrays"].items():
        trained[name].data.copy_(torch.from_numpy(array.numpy()))
    optimizer = torch.optim.SGD(trained.values(), LEARNING_RATE)
    model.train()
    total = 0.0
    for batch in load_data(folder, context.node_config["partition-id"]):
        optimizer.zero_grad()
        loss = model(pixel_values=batch["image"], labels=batch["label"]).loss
        loss.backward()
        optimizer.step()
        total += loss.item() * len(batch["label"])
    record = ArrayRecord({n: p.detach() for n, p in trained.items()})
    metrics = MetricRecord({"train_loss": total / IMAGES, "num-examples": IMAGES})
    return Message(RecordDict({"arrays": record, "metrics": metrics}), reply_to=message)
"""
PLAIN_SERVER = """
import json, time
from flwr.app import ArrayRecord
from flwr.serverapp import ServerApp
from flwr.serverapp.strategy import FedAvg
from workload import adapted
app = ServerApp()

class Timed(FedAvg):
    marks = []
    def aggregate_train(self, server_round, replies):
        out = super().aggregate_train(server_round, replies)
        self.marks.append(time.time())
        return out

@app.main()
def main(grid, context):
    model = adapted(context.run_config["folder"])
    start = ArrayRecord({n: p.detach() for n, p in model.named_parameters() if p.requires_grad})
    strategy = Timed(fraction_train=0.2, fraction_evaluate=0.0)
    strategy.start(grid, start, num_rounds=int(context.run_config["rounds"]))
    with open(context.run_config["folder"] + "/plain.json", "w") as stream:
        json.dump(strategy.marks, stream)
"""
PLAIN_PROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "plain"
version = "1.0.0"
description = "a plain Flower app"
license = "Apache-2.0"
dependencies = ["flwr[simulation]"]
[tool.flwr.app]
publisher = "plain"
[tool.flwr.app.components]
serverapp = "plain.server_app:app"
clientapp = "plain.client_app:app"
[tool.flwr.app.config]
folder = ""
rounds = 3
"""


_PLAIN = {"1 CPU a client": 1, "Flower's default": 2}


def bare_worker(folder: str, tasks: object, answers: object) -> None:
    """Train the clients that come, with model and data in memory."""
    import numpy as np
    import torch
    from workload import train

    torch.set_num_threads(1)
    model = adapted(folder)
    trained = [p for p in model.parameters() if p.requires_grad]
    data = np.load(folder + "/images.npz")
    x = torch.from_numpy(data["x"]).float().div(127.5).sub(1)
    y = torch.from_numpy(data["y"])
    while True:
        task = tasks.get()  # type: ignore[attr-defined]
        if task is None:
            return
        clients, start = task
        total = [torch.zeros_like(p, dtype=torch.float64) for p in trained]
        for client in clients:
            with torch.no_grad():
                for parameter, value in zip(trained, start, strict=True):
                    parameter.copy_(torch.from_numpy(value))
            train(model, x[client], y[client], client)
            for sum_, parameter in zip(total, trained, strict=True):
                sum_ += parameter.detach()
        answers.put([t.numpy() for t in total])  # type: ignore[attr-defined]


def bare(folder: Path, workers: int, rounds: int) -> list[float]:
    """Return seconds of each round after the first."""
    context = multiprocessing.get_context("spawn")
    tasks, answers = context.Queue(), context.Queue()
    # A process inherits the number of threads that OpenMP may use only through its environment.
    os.environ["OMP_NUM_THREADS"] = "1"
    processes = [
        context.Process(target=bare_worker, args=(str(folder), tasks, answers))
        for _ in range(workers)
    ]
    for process in processes:
        process.start()
    model = adapted(str(folder))
    start = [p.detach().numpy() for p in model.parameters() if p.requires_grad]
    seconds = []
    for server_round in range(1, rounds + 1):
        began = time.perf_counter()
        chosen = cohort(server_round)
        for part in range(workers):
            tasks.put((chosen[part::workers], start))
        sums = [answers.get() for _ in range(workers)]
        start = [sum(p) / len(chosen) for p in zip(*sums, strict=True)]
        start = [value.astype("float32") for value in start]
        seconds.append(time.perf_counter() - began)
    for _ in processes:
        tasks.put(None)
    for process in processes:
        process.join()
    return seconds[1:]


def plain(folder: Path, flower: Flower, cpus: int, rounds: int) -> list[float]:
    """Return seconds of each round after the first, of the plain Flower app.

    With `cpus` CPUs a client: 1 is the same workers as ours, 2 is Flower's default.
    """
    app = folder / "plain-app"
    (app / "plain").mkdir(parents=True, exist_ok=True)
    (app / "pyproject.toml").write_text(PLAIN_PROJECT)
    (app / "plain" / "__init__.py").write_text("")
    (app / "plain" / "client_app.py").write_text(PLAIN_CLIENT)
    (app / "plain" / "server_app.py").write_text(PLAIN_SERVER)
    (app / "workload.py").write_text((Path(__file__).parent / "workload.py").read_text())
    flower.run(app, {"folder": str(folder), "rounds": rounds}, CLIENTS, cpus)
    marks = json.loads((folder / "plain.json").read_text())
    return [b - a for a, b in itertools.pairwise(marks)]


def ours(folder: Path, flower: Flower, workers: int, rounds: int) -> list[float]:
    """Return seconds of each round after the first, of this project under ``flwr run``."""
    config = {
        "dataset": str(folder / "data"),
        "partition": "natural-id",
        "partition-args": "column='client'",
        "model": str(folder),
        "adapter-args": "rank=8, alpha=16",
        "batch-size": 32,
        "local-epochs": 1,
        "optimizer": "sgd",
        "learning-rate": LEARNING_RATE,
        "clients-per-round": CLIENTS // 5,
        "num-server-rounds": rounds + 1,
        "evaluate-every": 0,
        "out-dir": str(folder / "runs"),
        "run-name": f"ours-{time.time_ns()}",
        "state-dir": str(folder / "state"),
    }
    flower.run(ROOT, config, workers, max(1, (os.cpu_count() or 1) // workers))
    lines = (folder / "runs" / str(config["run-name"]) / "metrics.jsonl").read_text().splitlines()
    found = [json.loads(line) for line in lines]
    # Round 0 and the last also evaluate all clients.
    return [float(line["seconds"]) for line in found if 2 <= line["round"] <= rounds]


def main() -> None:
    """Measure all three, in turn, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--plain-rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--repeat", type=int, default=1, help="how often (a) and (c) take turns")
    parser.add_argument("--skip-plain", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_vit(folder)
        make_data(folder)
        flower = Flower(folder / "flwr")
        bare_seconds: list[float] = []
        our_seconds: list[float] = []
        plain_seconds: dict[str, list[float]] = {}
        try:
            for _ in range(options.repeat):
                bare_seconds += bare(folder, options.workers, options.rounds)
                our_seconds += ours(folder, flower, options.workers, options.rounds)
            if not options.skip_plain:
                for label, cpus in _PLAIN.items():
                    plain_seconds[label] = plain(folder, flower, cpus, options.plain_rounds)
        finally:
            flower.stop()
    clients = CLIENTS // 5
    rates = {
        "(a) bare loop": clients / statistics.median(bare_seconds),
        "(c) ours": clients / statistics.median(our_seconds),
    }
    for label, seconds in plain_seconds.items():
        rates[f"(b) plain, {label}"] = clients / statistics.median(seconds)
    print(f"{CLIENTS} clients of {IMAGES} images, {clients} a round, {options.workers} workers")
    for label, rate in sorted(rates.items()):
        print(f"  {label:<28} {rate:8.1f} clients/s (median round)")
    print(f"  ours / bare  {rates['(c) ours'] / rates['(a) bare loop']:.2f}")
    for label in plain_seconds:
        print(f"  ours / plain ({label}) {rates['(c) ours'] / rates[f'(b) plain, {label}']:.1f}")
    print("  bare rounds:", " ".join(f"{s:.2f}" for s in bare_seconds))
    print("  our rounds: ", " ".join(f"{s:.2f}" for s in our_seconds))


if __name__ == "__main__":
    main()
