"""In which numbers a base is held, and which of its layers are adapted."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BitsAndBytesConfig, LlamaConfig, LlamaForCausalLM

from clients.model_args import model_arg_errors
from models.adapted import AdaptedModel
from models.adapters import make_adapter
from models.bases.loading import Loading
from models.errors import ModelError
from models.lora.targets import family_targets
from models.tasks import LoadedBase, load_base

LABELS = tuple("0123456789")


def llama() -> Any:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=32,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        tie_word_embeddings=False,
    )
    module = LlamaForCausalLM(config)
    module.requires_grad_(False)
    return module


def test_a_base_in_bfloat16_trains_in_float32(vit_folder: Path) -> None:
    loading = Loading.of({"dtype": "bfloat16", "max-length": 9})
    base = load_base(vit_folder, "image", LABELS, 5, loading.keywords("cpu"))
    whole = load_base(vit_folder, "image", LABELS, 5)
    model = AdaptedModel(base, "image", make_adapter("lora", {}), {}, 1)
    reference = AdaptedModel(whole, "image", make_adapter("lora", {}), {}, 1)
    frozen = {p.dtype for p in model.module.parameters() if not p.requires_grad}
    trained = {p.dtype for p in model.module.parameters() if p.requires_grad}
    assert (frozen, trained) == ({torch.bfloat16}, {torch.float32})
    assert model.flat.dtype == torch.float32
    assert model.schema.hash == reference.schema.hash
    x = torch.randn(4, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    near = model.module(pixel_values=x.bfloat16()).logits.float().detach().numpy()
    exact = reference.module(pixel_values=x).logits.detach().numpy()
    np.testing.assert_allclose(near, exact, atol=0.05)
    assert not np.array_equal(near, exact)
    model.module(pixel_values=x.bfloat16()).logits.float().sum().backward()
    assert bool(model.flat.grad.isfinite().all())


def test_four_bits_are_those_of_qlora(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", SimpleNamespace(__spec__=SimpleNamespace()))
    told = Loading.of({"bits": 4}).keywords("cuda:1")
    config = told.pop("quantization_config")
    assert told == {"dtype": "bfloat16", "device_map": {"": "cuda:1"}}
    assert isinstance(config, BitsAndBytesConfig)
    assert (config.load_in_4bit, config.load_in_8bit) == (True, False)
    assert (config.bnb_4bit_quant_type, config.bnb_4bit_use_double_quant) == ("nf4", True)
    assert config.bnb_4bit_compute_dtype == torch.bfloat16
    assert {"lm_head", "classifier", "score"} <= set(config.llm_int8_skip_modules)
    eight = Loading.of({"bits": 8, "dtype": "float16"}).keywords("cuda")
    assert eight["quantization_config"].load_in_8bit
    assert eight["dtype"] == "float16"


def test_four_bits_without_a_gpu_or_the_library_are_refused() -> None:
    with pytest.raises(ModelError, match="bits=4 needs a CUDA GPU, and this machine computes on"):
        Loading(bits=4).keywords("cpu")
    if "bitsandbytes" not in sys.modules:
        with pytest.raises(ModelError, match=r"pip install 'fedbouquet\[quantised\]'"):
            Loading(bits=8).keywords("cuda")


def test_biases_of_a_quantised_base_are_not_trained() -> None:
    module = llama()
    module.is_quantized = True
    with pytest.raises(ModelError, match="leave out bits"):
        AdaptedModel(LoadedBase(module, ()), "text", make_adapter("bias", {}), {}, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "bf16"}, "dtype = 'bf16': one of auto, float32, bfloat16, float16"),
        ({"bits": 3}, "bits = 3: 4, 8, or 0"),
        ({"bits": False}, "bits = False: 4, 8, or 0"),
    ],
)
def test_wrong_options_are_said(options: dict[str, object], message: str) -> None:
    assert model_arg_errors(options)[0].startswith(message)
    assert model_arg_errors({"dtype": "bfloat16", "bits": 8}) == []


def test_layers_are_those_of_the_family() -> None:
    module = llama()
    assert family_targets(module) == ("q_proj", "v_proj")
    module.config.model_type = "nemotron_h"
    assert family_targets(module) == ("q_proj", "k_proj", "v_proj", "o_proj")
    module.config.model_type = "gpt2"  # whose layers this model does not have
    assert family_targets(module) == ("q_proj", "v_proj")


def test_embeddings_travel_only_when_they_are_named() -> None:
    def keys(**options: object) -> list[str]:
        base = LoadedBase(llama(), ())
        return list(AdaptedModel(base, "text", make_adapter("lora", options), {}, 1).arrays())

    assert not any("embed" in key or "lm_head" in key for key in keys())
    asked = [key for key in keys(targets="q_proj, embed_tokens") if "embed" in key]
    assert len(asked) == 2
    assert all("lora_embedding" in key for key in asked)
