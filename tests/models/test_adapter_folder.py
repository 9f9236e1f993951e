"""An adapter's folder: what was written is read, and what is damaged is said to be."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from models.errors import ModelError
from models.files import adapter_folder, read_adapter, write_adapter
from models.schema import NamedArrays


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    arrays = NamedArrays.of({"b": np.float32([[1, 2]]), "a": np.float32([3])})
    write_adapter(tmp_path / "adapter", arrays, {"peft_type": "LORA", "r": 2}, "card\n")
    return tmp_path / "adapter"


def test_what_was_written_is_read(folder: Path) -> None:
    arrays, config = read_adapter(folder)
    assert config == {"peft_type": "LORA", "r": 2}
    assert {key: value.tolist() for key, value in arrays.items()} == {"a": [3], "b": [[1, 2]]}
    # A run directory is as good as the folder in it.
    assert adapter_folder(folder.parent) == adapter_folder(folder) == folder


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
def test_what_is_damaged_or_gone_is_named(folder: Path, name: str) -> None:
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError, match=r"no adapter to read in .*adapter'"):
        read_adapter(folder)
    (folder / name).unlink()
    with pytest.raises(ModelError, match=r"no adapter to read in .*adapter'"):
        read_adapter(folder)


def test_a_run_with_an_adapter_a_cluster_names_them(folder: Path) -> None:
    run = folder.parent / "run"
    for name in "01":
        (run / "clusters" / name / "adapter").mkdir(parents=True)
    words = f"take one of {run / 'clusters' / '0'}, {run / 'clusters' / '1'}"
    with pytest.raises(ModelError, match=re.escape(words)):
        read_adapter(adapter_folder(run))
