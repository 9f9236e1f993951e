"""What a run exports: adapters with what belongs to them, and whole models without PEFT."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from local_runs import run, small
from peft import PeftModel
from rich.console import Console
from transformers import (
    AutoModelForCausalLM,
    AutoModelForImageClassification,
    AutoTokenizer,
    GenerationConfig,
)

from app.cli.exports.merged import export_merged
from clients.bases import assemble
from models.errors import ModelError
from models.files import write_adapter
from models.schema import NamedArrays

pytestmark = pytest.mark.usefixtures("no_pictures")

SAID = Console(quiet=True)
TEMPLATE = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"


@pytest.fixture
def writer(tmp_path: Path, llama_folder: Path) -> Path:
    """A causal model in bfloat16 with a chat template and generation settings."""
    folder = tmp_path / "writer"
    shutil.copytree(llama_folder, folder)
    AutoModelForCausalLM.from_pretrained(folder).to(torch.bfloat16).save_pretrained(folder)
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    GenerationConfig(max_new_tokens=7, do_sample=True, temperature=0.4).save_pretrained(folder)
    return folder


@pytest.fixture
def told(tmp_path: Path, writer: Path) -> Path:
    """A run over a chat-format folder."""
    data = tmp_path / "chats"
    data.mkdir()
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"what is {n} and one"},
                {"role": "assistant", "content": f"that is {n + 1}"},
            ]
        }
        for n in range(16)
    ]
    (data / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    config = {
        **small(tmp_path, writer),
        "task": "causal-lm",
        "dataset": str(data),
        "num-clients": 2,
        "num-server-rounds": 1,
        "local-steps": 2,
        "learning-rate": 0.05,
        "model-args": "max-length=64",
        "task-args": "loss-on='all', samples=0",
    }
    return run(config)


def test_a_language_model_is_merged_and_speaks(told: Path, writer: Path) -> None:
    adapter = told / "adapter"
    assert (adapter / "chat_template.jinja").read_text() == TEMPLATE
    assert AutoTokenizer.from_pretrained(adapter).chat_template == TEMPLATE
    assert GenerationConfig.from_pretrained(adapter).max_new_tokens == 7
    merged = export_merged(told, None, SAID)
    assert merged == told / "merged"
    plain = AutoModelForCausalLM.from_pretrained(merged)
    assert plain.dtype == torch.bfloat16
    assert (plain.generation_config.max_new_tokens, plain.config.use_cache) == (7, True)
    assert AutoTokenizer.from_pretrained(merged).chat_template == TEMPLATE
    base = AutoModelForCausalLM.from_pretrained(writer).float()
    tokens = torch.arange(1, 25).view(2, 12)
    with torch.no_grad():
        untrained = base(tokens).logits
        expected = PeftModel.from_pretrained(base, adapter).eval()(tokens).logits
        found = plain.float().eval()(tokens).logits
    assert (found - expected).abs().max() < 0.2 * (found - untrained).abs().max()
    assert plain.generate(tokens, max_new_tokens=2, do_sample=False).shape == (2, 14)


def test_a_classifier_is_merged_with_its_labels(tmp_path: Path, vit_folder: Path) -> None:
    config = {**small(tmp_path, vit_folder), "num-server-rounds": 1, "local-epochs": 1}
    folder = run(config)
    assert (folder / "adapter" / "preprocessor_config.json").is_file()
    merged = export_merged(folder, tmp_path / "whole", SAID)
    plain = AutoModelForImageClassification.from_pretrained(merged).eval()
    assert plain.config.id2label[7] == "7"
    base = AutoModelForImageClassification.from_pretrained(vit_folder)
    loaded = PeftModel.from_pretrained(base, folder / "adapter").eval()
    x = torch.randn(5, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found, expected = plain(pixel_values=x).logits, loaded(pixel_values=x).logits
    np.testing.assert_allclose(found, expected, atol=1e-5)
    with pytest.raises(ModelError, match="exists already"):
        export_merged(folder, tmp_path / "whole", SAID)


def test_a_run_directory_that_moved_takes_its_base_along(tmp_path: Path, vit_folder: Path) -> None:
    folder = tmp_path / "there"
    shutil.copytree(vit_folder, folder / "base")
    base = AutoModelForImageClassification.from_pretrained(vit_folder)
    weight = base.state_dict()["vit.layers.0.attention.q_proj.weight"]
    key = "base_model.model.vit.layers.0.attention.q_proj"
    arrays = {
        f"{key}.lora_A.weight": np.ones((1, 16), np.float32),
        f"{key}.lora_B.weight": np.full((16, 1), 0.5, np.float32),
    }
    config = {
        "peft_type": "LORA",
        "task_type": None,
        "r": 1,
        "lora_alpha": 4,
        "target_modules": ["vit.layers.0.attention.q_proj"],
        "base_model_name_or_path": "/elsewhere/base",
    }
    write_adapter(folder / "adapter", NamedArrays.of(arrays), config, "card")
    plain = AutoModelForImageClassification.from_pretrained(export_merged(folder, None, SAID))
    found = plain.state_dict()["vit.layers.0.attention.q_proj.weight"]
    np.testing.assert_allclose(found, weight + 4 * 0.5, atol=1e-6)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "no adapter to read"),
        ({"peft_type": "FAIRLORA"}, "bouquet export RUN --group NAME --merge"),
        ({"peft_type": "LORA", "base_model_name_or_path": "/gone"}, "no config.json"),
        ({"peft_type": "LORA", "base_model_name_or_path": "tiny-vit"}, "not on this machine"),
    ],
)
def test_what_cannot_be_merged_is_said(
    config: dict[str, object], message: str, tmp_path: Path
) -> None:
    folder = tmp_path / "adapter"
    folder.mkdir()
    if config:
        (folder / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=message):
        export_merged(folder, None, SAID)
    assert not (tmp_path / "merged").exists()


@pytest.mark.parametrize("targets", ["embed_tokens,q_proj", "lm_head"])
def test_embeddings_and_output_layer_that_share_weights_merge_apart(
    targets: str, tmp_path: Path, llama_folder: Path
) -> None:
    """What is learned for one of them is not added to the other."""
    tuned = assemble(
        llama_folder,
        kind="causal-lm",
        labels=(),
        base="",
        adapter="lora",
        adapter_args={"targets": targets},
        seed=0,
        device="cpu",
    )
    numbers = np.random.default_rng(0).normal(size=tuned.schema.size).astype(np.float32)
    tuned.load(numbers)
    config = tuned.peft_config(str(llama_folder))
    write_adapter(tmp_path / "adapter", tuned.arrays(), config, "card")
    tokens = torch.arange(1, 25).view(2, 12)
    base = AutoModelForCausalLM.from_pretrained(llama_folder)
    assert base.config.tie_word_embeddings
    untrained = base(tokens).logits.detach()
    by_peft = PeftModel.from_pretrained(base, tmp_path / "adapter").eval()
    plain = AutoModelForCausalLM.from_pretrained(export_merged(tmp_path, None, SAID))
    with torch.no_grad():
        expected = tuned.module.eval()(tokens).logits
        assert (expected - untrained).abs().max() > 0.1
        torch.testing.assert_close(by_peft(tokens).logits, expected)
        torch.testing.assert_close(plain(tokens).logits, expected, rtol=1e-4, atol=1e-4)
