"""The workload of the throughput benchmark, and a local Flower of its own."""

from __future__ import annotations

import io
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
CLIENTS, IMAGES, TESTS = 500, 64, 16
BATCH, LEARNING_RATE = 32, 0.05


def make_vit(folder: Path) -> None:
    """Write the checkpoint: a ViT with random weights and its image processor."""
    import json

    import torch
    from transformers import ViTConfig, ViTForImageClassification

    torch.manual_seed(0)
    config = ViTConfig(
        hidden_size=64,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=128,
        image_size=28,
        patch_size=7,
        num_channels=1,
        num_labels=10,
    )
    ViTForImageClassification(config).save_pretrained(folder)
    processor = {"size": {"height": 28, "width": 28}, "image_mean": [0.5], "image_std": [0.5]}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))


def make_data(folder: Path) -> None:
    """Write the clients' images: as arrays for the baselines, as Parquet for ours."""
    import datasets
    from PIL import Image

    random = np.random.default_rng(0)
    x = random.integers(0, 256, (CLIENTS, IMAGES, 1, 28, 28), dtype=np.uint8)
    y = random.integers(0, 10, (CLIENTS, IMAGES))
    np.savez(folder / "images.npz", x=x, y=y)

    def encoded(pixels: Any) -> dict[str, Any]:
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "PNG")
        return {"bytes": stream.getvalue(), "path": None}

    extra = random.integers(0, 256, (CLIENTS, TESTS, 28, 28), dtype=np.uint8)
    rows: dict[str, list[Any]] = {"image": [], "label": [], "client": []}
    for client in range(CLIENTS):
        for pixels in (*x[client, :, 0], *extra[client]):
            rows["image"].append(encoded(pixels))
            rows["label"].append(int(random.integers(0, 10)))
            rows["client"].append(client)
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "label": datasets.ClassLabel(names=[str(i) for i in range(10)]),
            "client": datasets.Value("int32"),
        }
    )
    (folder / "data").mkdir()
    table = datasets.Dataset.from_dict(rows, features=features)
    table.to_parquet(folder / "data" / "train.parquet")
    table.select(range(200)).to_parquet(folder / "data" / "test.parquet")


def adapted(folder: str) -> Any:
    """Return the ViT with LoRA r=8 on query and value; the head is trained too."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForImageClassification

    torch.manual_seed(1)
    base = AutoModelForImageClassification.from_pretrained(folder)
    config = LoraConfig(
        r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"], modules_to_save=["classifier"]
    )
    return get_peft_model(base, config)


def train(model: Any, x: Any, y: Any, seed: int) -> float:
    """One epoch of SGD in batches of 32, as in any tutorial."""
    import torch

    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], LEARNING_RATE)
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(y)))
    model.train()
    total = 0.0
    for start in range(0, len(y), BATCH):
        rows = order[start : start + BATCH]
        optimizer.zero_grad()
        loss = model(pixel_values=x[rows], labels=y[rows]).loss
        loss.backward()
        optimizer.step()
        total += float(loss.detach()) * len(rows)
    return total / len(y)


def cohort(server_round: int) -> list[int]:
    """Return a fifth of the clients, by round."""
    chosen = np.random.default_rng(server_round).choice(CLIENTS, CLIENTS // 5, replace=False)
    return sorted(int(c) for c in chosen)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Flower:
    """A local SuperLink of our own, ended by its process id.

    Parameters
    ----------
    home : Path
        Its FLWR_HOME.
    """

    def __init__(self, home: Path) -> None:
        self._environment = {
            **os.environ,
            "FLWR_HOME": str(home),
            "FLWR_LOCAL_SUPERLINK_HTTP_API_PORT": str(free_port()),
            "FLWR_LOCAL_CONTROL_API_PORT": str(free_port()),
            "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
            "FLWR_TELEMETRY_ENABLED": "0",
        }

    def run(self, app: Path, config: dict[str, Any], nodes: int, cpus: int) -> None:
        """Run an app to its end on a number of SuperNodes, with so many CPUs a message."""
        text = "\n".join(f"{k} = {_toml(v)}" for k, v in config.items())
        file = Path(self._environment["FLWR_HOME"]).parent / "run.toml"
        file.write_text(text)
        federation = f"num-supernodes={nodes} client-resources-num-cpus={cpus}"
        command = ["flwr", "run", str(app), "-c", str(file), "--stream"]
        done = subprocess.run(
            [*command, "--federation-config", federation],
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            sys.exit(done.stdout[-3000:] + done.stderr[-3000:])

    def stop(self) -> None:
        """End the SuperLink that the first run started."""
        for pid in _superlinks(self._environment["FLWR_HOME"]):
            os.kill(pid, signal.SIGTERM)
        time.sleep(1)


def _toml(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value).lower()


def _superlinks(home: str) -> set[int]:
    """Return the process ids of the SuperLinks that were started with this FLWR_HOME."""
    found = set()
    mark = f"FLWR_HOME={home}".encode()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
                mine = mark in (entry / "environ").read_bytes().split(b"\0")
            except OSError:
                continue
            if mine and any(word.endswith(b"flower-superlink") for word in words[:3]):
                found.add(int(entry.name))
    return found
