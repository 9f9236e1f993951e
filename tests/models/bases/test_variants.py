from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import (
    AutoModelForImageClassification,
    BertConfig,
    BertModel,
    GPT2Config,
    GPT2Model,
)

from models.bases.tiny_vit import pretrained
from models.bases.variants import Variant
from models.checkpoint import fingerprint, resolve_checkpoint
from models.errors import ModelError


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("tiny-vit", Variant("tiny-vit")),
        ("tiny-vit@width=32", Variant("tiny-vit", 32)),
        ("tiny-table@width=16", Variant("tiny-table", 16)),
        ("tiny-vit@depth=2,width=96", Variant("tiny-vit", 96, 2)),
        ("pkg:some_model/model@depth=3", Variant("pkg:some_model/model", 0, 3)),
        ("/data/me@home/model", Variant("/data/me@home/model")),
        ("/data/me@home/model@depth=1", Variant("/data/me@home/model", 0, 1)),
    ],
)
def test_what_differs_is_read_and_written(text: str, found: Variant) -> None:
    assert Variant.parse(text) == found
    assert Variant.parse(str(found)) == found


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("tiny-vit@widht=32", "'widht=32' is not understood"),
        ("tiny-vit@depth=2,depth=3", "each once"),
        ("tiny-vit@depth=0", "from 1 to 4096"),
        ("tiny-vit@depth=two", "from 1 to 4096"),
        ("tiny-vit@width=30", "multiple of 4"),
        ("/data/model@width=32", "only .*tiny-llama come in other widths"),
    ],
)
def test_what_is_not_understood_is_named(text: str, says: str) -> None:
    with pytest.raises(ModelError, match=says):
        Variant.parse(text)


def test_the_first_layers_are_the_same_weights(bert_folder: Path, tmp_path: Path) -> None:
    folder = resolve_checkpoint(f"{bert_folder}@depth=1", tmp_path)
    assert folder is not None
    assert folder.name == fingerprint(folder) != fingerprint(bert_folder)
    whole, cut = (load_file(f / "model.safetensors") for f in (bert_folder, folder))
    assert cut.keys() == {k for k in whole if "layer.1." not in k}
    assert all(torch.equal(cut[k], whole[k]) for k in cut)
    assert (folder / "vocab.txt").read_text() == (bert_folder / "vocab.txt").read_text()
    ids = torch.tensor([[2, 5, 7, 3]])
    model = BertModel.from_pretrained(folder).eval()
    with torch.no_grad():
        states = BertModel.from_pretrained(bert_folder).eval()(ids, output_hidden_states=True)
        torch.testing.assert_close(model(ids).last_hidden_state, states.hidden_states[1])
    # Cut once, found again; and by its fingerprint alone, as a shipped base is.
    marks = folder.stat().st_mtime_ns
    assert resolve_checkpoint(f"{bert_folder}@depth=1", tmp_path) == folder
    assert folder.stat().st_mtime_ns == marks
    assert resolve_checkpoint("anything", tmp_path, folder.name) == folder
    assert resolve_checkpoint(f"{bert_folder}@depth=2", tmp_path) == bert_folder


def test_half_precision_spread_files_and_decoders_are_cut(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=12, n_positions=16, n_embd=8, n_layer=3, n_head=2)
    model = GPT2Model(config).to(torch.bfloat16)
    model.save_pretrained(tmp_path / "gpt", max_shard_size="2KB")
    assert len(list((tmp_path / "gpt").glob("*.safetensors"))) > 1
    folder = resolve_checkpoint(f"{tmp_path / 'gpt'}@depth=2", tmp_path / "bases")
    assert folder is not None
    assert json.loads((folder / "config.json").read_text())["n_layer"] == 2
    cut, info = GPT2Model.from_pretrained(folder, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    wanted = model.state_dict()
    assert all(torch.equal(v, wanted[k]) for k, v in cut.state_dict().items())


def test_more_layers_than_there_are_and_unknown_lists_are_refused(
    bert_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match="depth=3, and the checkpoint has 2 layers"):
        resolve_checkpoint(f"{bert_folder}@depth=3", tmp_path)
    copy = Path(shutil.copytree(bert_folder, tmp_path / "copy"))
    config = BertConfig.from_pretrained(copy)
    config.num_hidden_layers = 7
    config.save_pretrained(copy)
    with pytest.raises(ModelError, match=r"not one list of 7 layers; found: 'encoder.layer' \(2\)"):
        resolve_checkpoint(f"{copy}@depth=1", tmp_path)


def test_the_embedded_model_comes_in_other_sizes(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    pixels = generator.normal(size=(8, 1, 28, 28)).astype(np.float32)
    targets = np.arange(8) % 2
    own = [
        pretrained(pixels, targets, ("a", "b"), 1, tmp_path, steps=2, **sizes)
        for sizes in ({}, {"width": 64, "depth": 4}, {"width": 32}, {"width": 32, "depth": 2})
    ]
    assert own[0] == own[1]
    assert len(set(own)) == 3
    config = AutoModelForImageClassification.from_pretrained(own[3]).config
    assert (config.hidden_size, config.num_hidden_layers, config.intermediate_size) == (32, 2, 64)
    assert resolve_checkpoint("tiny-vit@width=32", tmp_path) is None
