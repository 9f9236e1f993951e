from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from models.checkpoint import (
    fingerprint,
    pack_checkpoint,
    resolve_checkpoint,
    unpack_checkpoint,
    weight_files,
)
from models.errors import ModelError


@pytest.fixture
def copy(vit_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(vit_folder, tmp_path / "copy"))


def test_fingerprint_is_of_tensors_and_configuration(vit_folder: Path, copy: Path) -> None:
    assert fingerprint(copy) == fingerprint(vit_folder)
    config = json.loads((copy / "config.json").read_text())
    config.update(transformers_version="0", id2label={"0": "cat"})
    (copy / "config.json").write_text(json.dumps(config))
    assert fingerprint(copy) == fingerprint(vit_folder)
    config["layer_norm_eps"] = 1e-3
    (copy / "config.json").write_text(json.dumps(config))
    assert fingerprint(copy) != fingerprint(vit_folder)


def test_one_changed_weight_is_another_base(vit_folder: Path, copy: Path) -> None:
    file = copy / "model.safetensors"
    tensors = load_file(file)
    tensors["vit.encoder.layer.0.output.dense.bias"][0] += 1e-3
    save_file(tensors, file)
    assert fingerprint(copy) != fingerprint(vit_folder)


def test_spreading_tensors_over_files_changes_nothing(vit_folder: Path, copy: Path) -> None:
    tensors = load_file(copy / "model.safetensors")
    (copy / "model.safetensors").unlink()
    keys = sorted(tensors)
    save_file({k: tensors[k] for k in keys[::2]}, copy / "model-1.safetensors")
    save_file({k: tensors[k] for k in keys[1::2]}, copy / "model-2.safetensors")
    assert fingerprint(copy) == fingerprint(vit_folder)


def test_the_cache_is_by_file_identity(copy: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    first = fingerprint(copy, cache)
    assert len(list(cache.iterdir())) == 1
    assert fingerprint(copy, cache) == first
    file = copy / "model.safetensors"
    tensors = load_file(file)
    tensors["classifier.bias"][0] += 1
    save_file(tensors, file)
    assert fingerprint(copy, cache) != first


def test_a_base_is_shipped_whole_or_not_at_all(vit_folder: Path, tmp_path: Path) -> None:
    data, mark = pack_checkpoint(vit_folder), fingerprint(vit_folder)
    folder = unpack_checkpoint(data, mark, tmp_path)
    assert fingerprint(folder) == mark
    assert resolve_checkpoint("tiny-vit", tmp_path, mark) == folder
    assert unpack_checkpoint(data, mark, tmp_path) == folder
    with pytest.raises(ModelError, match="announced as 0123"):
        unpack_checkpoint(data, "0123", tmp_path)
    with pytest.raises(ModelError, match="damaged"):
        unpack_checkpoint(b"\x00" * 20, mark, tmp_path)


def test_a_shipped_base_cannot_name_a_path(tmp_path: Path) -> None:
    header = json.dumps([["../evil.json", 2]]).encode()
    data = len(header).to_bytes(8, "little") + header + b"{}"
    with pytest.raises(ModelError, match="outside its folder"):
        unpack_checkpoint(data, "x", tmp_path / "bases")
    assert not (tmp_path / "evil.json").exists()


def test_pickled_weights_are_not_loaded(copy: Path) -> None:
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    with pytest.raises(ModelError, match="pickled weights are never loaded"):
        weight_files(copy)


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ("pkg:no_such_package/model", "no package 'no_such_package' is installed"),
        ("pkg:models/nowhere", "no config.json in 'nowhere' of package 'models'"),
        ("/no/such/folder", "no config.json in this folder"),
        ("someone/not-cached", "neither in the local Hugging Face cache nor reachable"),
    ],
)
def test_a_base_that_is_not_there_says_what_to_do(model: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=says):
        resolve_checkpoint(model, tmp_path)
