"""Runs in which clients have different base models, in this process."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from flwr.app import Message
from local_runs import Config, Killed, kill_at, rounds, run, small
from PIL import Image
from quick_and_slow import one_quick
from safetensors.numpy import load
from sklearn.datasets import load_digits
from transformers import ViTConfig, ViTForImageClassification

from app.client_app import app
from app.node import get_ready
from app.server.job import run_job
from fedbouquet.testing import LocalGrid
from models.errors import ConfigurationError, ModelError

pytestmark = pytest.mark.usefixtures("no_pictures")


@pytest.fixture
def base(tmp_path: Path, vit_folder: Path) -> Config:
    return small(tmp_path, vit_folder) | {
        "strategy": "local",
        "model-args": f"variants=['{vit_folder}', '{vit_folder}@depth=1']",
        "num-server-rounds": 2,
        "state-dir": str(tmp_path / "state"),
    }


def kept(config: Config, folder: Path) -> dict[str, dict[str, np.ndarray]]:
    """The newest version of every client's personal state in a run."""
    uid = (folder / "uid").read_text().strip()
    found = {}
    for client in sorted((Path(str(config["state-dir"])) / "personal" / uid).iterdir()):
        name = client.name.rpartition("-")[0]
        found[name] = load(max(client.iterdir()).read_bytes()[64:])
    return found


def figures(folder: Path) -> list[object]:
    return [(line["train_loss"], line["client_accuracy_mean"]) for line in rounds(folder)]


def same(a: dict[str, dict[str, np.ndarray]], b: dict[str, dict[str, np.ndarray]]) -> None:
    assert a.keys() == b.keys()
    for client in a:
        assert a[client].keys() == b[client].keys()
        for key, value in a[client].items():
            np.testing.assert_array_equal(value, b[client][key], err_msg=f"{client} {key}")


def models(folder: Path) -> list[str]:
    with (folder / "clients.csv").open() as stream:
        return [row["model"] for row in csv.DictReader(stream)]


def test_each_client_trains_the_model_that_is_its_own(base: Config, vit_folder: Path) -> None:
    asked: list[Message] = []

    def watch(message: Message, reply: Message) -> Message:
        asked.append(message)
        return reply

    folder = run(base, watch)
    assert models(folder) == ["", f"{vit_folder}@depth=1"] * 2
    # The server keeps the adapters of its own model; those of others stay with their clients.
    own = kept(base, folder)
    assert own.keys() == {"client-0001", "client-0003"}
    layers = {key for arrays in own.values() for key in arrays}
    assert any(".layers.0." in key or ".layer.0." in key for key in layers)
    assert not any(".layers.1." in key or ".layer.1." in key for key in layers)
    losses = [line["train_loss"] for line in rounds(folder)[1:]]
    assert losses[-1] < losses[0]
    assert rounds(folder)[-1]["rejected"] == []
    assert rounds(folder)[-1]["clients_answered"] == 4


def test_clients_of_the_runs_own_model_are_as_they_would_be_without_the_others(
    base: Config,
) -> None:
    mixed = run(base)
    alike = run({**base, "model-args": "", "run-name": "alike"})
    (a, b) = ([row for row in _rows(f) if int(row["client"][-1]) % 2 == 0] for f in (mixed, alike))
    assert [r["accuracy_after"] for r in a] == [r["accuracy_after"] for r in b]


def _rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "clients.csv").open() as stream:
        return list(csv.DictReader(stream))


def test_methods_that_average_adapters_say_what_to_take_instead(base: Config) -> None:
    with pytest.raises(ConfigurationError, match=r"'client-0001' has another base .*pfedlora"):
        run({**base, "strategy": "fedavg"})
    with pytest.raises(ConfigurationError, match="averages whole adapters"):
        run({**base, "strategy": "fedper > fedopt > fedavg", "run-name": "other"})


def test_variants_of_the_same_weights_are_no_variants(base: Config, vit_folder: Path) -> None:
    given = f"variants=['{vit_folder}', '{vit_folder}@depth=2']"
    folder = run({**base, "strategy": "fedavg", "model-args": given})
    assert models(folder) == [""] * 4
    alike = run({**base, "strategy": "fedavg", "model-args": "", "run-name": "alike"})
    assert figures(folder) == figures(alike)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("variants=[]", "a list of models"),
        ("variants='tiny-vit'", "a list of models"),
        ("variants=['tiny-vit@widht=3']", "'widht=3' is not understood"),
        ("varants=['tiny-vit']", "did you mean 'variants'"),
    ],
)
def test_what_is_wrong_with_variants_is_said_before_anything_starts(
    base: Config, given: str, says: str
) -> None:
    with pytest.raises(ConfigurationError, match=says):
        run({**base, "model-args": given})


METHODS = ("local", "pfedlora", "fml", "fedsa")


@pytest.fixture
def widths(tmp_path: Path, vit_folder: Path, base: Config) -> Config:
    """Three models of other widths and depths; the second has features of another width."""
    wide = tmp_path / "wide"
    torch.manual_seed(1)
    config = ViTConfig.from_pretrained(vit_folder)
    config.hidden_size, config.num_attention_heads = 24, 2
    ViTForImageClassification(config).save_pretrained(wide)
    shutil.copyfile(vit_folder / "preprocessor_config.json", wide / "preprocessor_config.json")
    given = f"variants=['{vit_folder}', '{wide}', '{wide}@depth=1']"
    return base | {"model-args": given, "local-steps": 2}


@pytest.mark.parametrize("strategy", one_quick(METHODS))
def test_a_run_killed_and_resumed_ends_in_the_same_bits(widths: Config, strategy: str) -> None:
    widths |= {"strategy": strategy}
    if strategy == "fedsa":
        widths |= {"model-args": f"{widths['model-args']}, feature-dim=12"}
    whole = run(widths)
    assert all(line["rejected"] == [] for line in rounds(whole))
    broken = {**widths, "run-name": "broken"}
    with pytest.raises(Killed):
        run(broken, kill_at(7, "train", "evaluate"))
    folder = run({**broken, "resume": True})
    assert figures(whole) == figures(folder)
    same(kept(widths, whole), kept(widths, folder))


def test_only_the_adapter_beside_the_models_travels(widths: Config) -> None:
    sizes: set[tuple[int, ...]] = set()

    def watch(message: Message, reply: Message) -> Message:
        if message.metadata.message_type == "train":
            records = (
                message.content.array_records["arrays"],
                *reply.content.array_records.values(),
            )
            sizes.update(tuple(a.shape) for record in records for a in record.values())
        return reply

    widths |= {"strategy": "pfedlora", "strategy-args": "rank=2"}
    folder = run(widths, watch)
    # A: 2 x 16, B: 10 x 2; down once for a pack, up for each of its two clients.
    assert sizes == {(1, 52), (2, 52)}
    last = rounds(folder)[-1]
    assert (last["bytes_up"], last["bytes_down"]) == (4 * 52 * 4, 4 * 52 * 4)
    own = kept(widths, folder)
    shapes = {name: arrays.get("personal.projection") for name, arrays in own.items()}
    assert [None if p is None else p.shape for p in shapes.values()] == [
        None,
        (16, 24),
        (16, 24),
        None,
    ]
    assert not any(key.startswith("shared.") for arrays in own.values() for key in arrays)
    assert not (folder / "adapter").exists()


def test_the_meme_is_a_model_of_its_own(widths: Config) -> None:
    folder = run(widths | {"strategy": "fml", "local-steps": 8})
    losses = [line["loss"] for line in rounds(folder)]
    assert losses[-1] < losses[0] - 0.03
    arrays = load((folder / "adapter" / "adapter_model.safetensors").read_bytes())
    assert all(key.startswith("base_model.") for key in arrays)


def test_a_client_that_was_away_goes_on_from_what_it_kept(widths: Config) -> None:
    widths |= {"strategy": "fedopt > lg-fedavg", "clients-per-round": 2, "num-server-rounds": 4}
    folder = run(widths)
    assert all(line["rejected"] == [] for line in rounds(folder))
    assert sum(line["clients_answered"] for line in rounds(folder)) == 8


def test_the_run_directory_keeps_an_adapter_of_each_kind(widths: Config, tmp_path: Path) -> None:
    from peft import PeftModel

    folder = run(widths | {"collect-personal": True, "num-server-rounds": 1})
    own = kept(widths, folder)
    bases = {}
    for client, row in zip(range(4), _rows(folder), strict=True):
        place = folder / "clients" / row["client"] / "adapter"
        arrays = load((place / "adapter_model.safetensors").read_bytes())
        base = json.loads((place / "adapter_config.json").read_text())["base_model_name_or_path"]
        if row["client"] in own:
            # What is collected is what the client keeps, under PEFT's names.
            for key, value in own[row["client"]].items():
                np.testing.assert_array_equal(arrays[key], value)
        PeftModel.from_pretrained(ViTForImageClassification.from_pretrained(base), place)
        bases[client] = ViTConfig.from_pretrained(base)
    assert [bases[c].hidden_size for c in range(4)] == [16, 24, 24, 16]
    assert [bases[c].num_hidden_layers for c in range(4)] == [2, 2, 1, 2]


def write_site(folder: Path, first: int) -> Path:
    """A hospital's digits, images in a folder a class."""
    digits = load_digits()
    for number in range(first, first + 80):
        place = folder / str(digits.target[number])
        place.mkdir(parents=True, exist_ok=True)
        pixels = (digits.images[number] * (255 / 16)).astype(np.uint8)
        Image.fromarray(pixels).save(place / f"{number}.png")
    return folder


def test_nodes_state_models_that_the_server_has_not(
    widths: Config, tmp_path: Path, vit_folder: Path
) -> None:
    own = {"a": str(tmp_path / "wide"), "b": f"{vit_folder}@depth=1", "c": str(vit_folder)}
    nodes = [
        {
            "client-id": name,
            "data-path": str(write_site(tmp_path / "data" / name, 80 * number)),
            "state-dir": str(tmp_path / "nodes" / name),
            "model": model,
        }
        for number, (name, model) in enumerate(own.items())
    ]
    config = widths | {"model-args": "", "strategy": "pfedlora", "num-server-rounds": 1}
    folder = run_job(LocalGrid(app, nodes, config), config)
    assert [line["rejected"] for line in rounds(folder)] == [[], []]
    # What turns out to be the run's own model is no other one.
    assert models(folder) == [own["a"], own["b"], ""]
    assert json.loads((folder / "models.json").read_text())["clients"] == {
        own["a"]: ["a"],
        own["b"]: ["b"],
        own["c"]: ["c"],
    }
    kept = {name: len(list((tmp_path / "nodes" / name / "personal").glob("*/*"))) for name in own}
    assert kept == {"a": 1, "b": 1, "c": 1}

    config |= {"strategy": "fedavg", "run-name": "averaged"}
    folder = run_job(LocalGrid(app, nodes, config), config)
    refused = {r["client"]: r["detail"] for line in rounds(folder) for r in line["rejected"]}
    assert refused.keys() == {"a", "b"}
    assert all("take a method for models that differ" in detail for detail in refused.values())
    assert rounds(folder)[-1]["clients_answered"] == 1


def test_where_only_class_rows_travel_the_server_needs_no_model(
    widths: Config, tmp_path: Path, vit_folder: Path
) -> None:
    own = {"a": str(tmp_path / "wide"), "b": f"{vit_folder}@depth=1", "c": str(vit_folder)}
    nodes = [
        {
            "client-id": name,
            "data-path": str(write_site(tmp_path / "data" / name, 80 * number)),
            "state-dir": str(tmp_path / "nodes" / name),
            "model": model,
        }
        for number, (name, model) in enumerate(own.items())
    ]
    # A model that is nowhere: whoever looked for it would say so.
    config = widths | {
        "model": "nobody/has-it",
        "model-args": "feature-dim=12",
        "strategy": "fedgh",
        "num-server-rounds": 1,
    }
    folder = run_job(LocalGrid(app, nodes, config), config)
    assert [line["rejected"] for line in rounds(folder)] == [[], []]
    last = rounds(folder)[-1]
    assert (last["bytes_up"], last["bytes_down"]) == (3 * 4 * (10 * 12 + 10),) * 2
    told = json.loads((folder / "models.json").read_text())
    assert (told["base"], told["adapter_bytes"]) == ("", None)
    assert {model: [name] for name, model in own.items()} == told["clients"]

    # Who comes later without one is told what to do.
    (plan,) = (tmp_path / "nodes" / "a" / "plans").iterdir()
    stranger = {"client-id": "d", "data-path": str(tmp_path), "state-dir": str(tmp_path / "d")}
    assert "state `model`" in str(get_ready(stranger, "", plan.read_text(), {})["error"])
    with pytest.raises(ModelError, match="nobody/has-it"):
        run_job(LocalGrid(app, nodes, config), config | {"strategy": "local", "run-name": "other"})
