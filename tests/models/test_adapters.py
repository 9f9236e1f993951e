from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForImageClassification, AutoModelForSequenceClassification

from models.adapted import AdaptedModel
from models.adapters import ADAPTERS, adapter_errors, make_adapter
from models.errors import ConfigurationError, ModelError
from models.files import write_adapter
from models.tasks import load_base

LABELS = tuple("0123456789")


def vit(folder: Path, kind: str = "lora", seed: int = 1, **options: object) -> AdaptedModel:
    base = load_base(folder, "image", LABELS, 5)
    return AdaptedModel(base, "image", make_adapter(kind, options), {"base": "f"}, seed)


CASES = [
    ("lora", {}),
    ("lora", {"rank": 4, "rslora": True}),
    ("lora", {"rank": 2, "dora": True}),
    ("lora", {"targets": "fc1, q_proj"}),
    ("ia3", {}),
    ("bias", {}),
    ("head", {}),
]


@pytest.mark.parametrize(("kind", "options"), CASES)
def test_plain_peft_loads_the_folder_and_computes_the_same(
    kind: str, options: dict[str, object], vit_folder: Path, tmp_path: Path
) -> None:
    model = vit(vit_folder, kind, **options)
    numbers = np.random.default_rng(0).normal(scale=0.2, size=model.schema.size)
    model.load(numbers.astype(np.float32))
    write_adapter(tmp_path, model.arrays(), model.peft_config(str(vit_folder)), "card")
    plain = AutoModelForImageClassification.from_pretrained(vit_folder)
    loaded = PeftModel.from_pretrained(plain, tmp_path).eval()
    x = torch.randn(5, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        ours = model.module.eval()(pixel_values=x).logits
        theirs = loaded(pixel_values=x).logits
    assert torch.equal(ours, theirs)
    assert ours.std() > 0


def test_the_first_training_is_no_other_than_later_ones(bert_folder: Path) -> None:
    base = load_base(bert_folder, "text", ("bad", "good"), 5)
    model = AdaptedModel(base, "text", make_adapter("lora", {}), {}, 1)
    assert not any(part.training for part in model.module.modules())


def test_text_heads_and_adapters_travel_and_load(bert_folder: Path, tmp_path: Path) -> None:
    base = load_base(bert_folder, "text", ("bad", "good"), 5)
    assert base.fresh == ("classifier",)
    model = AdaptedModel(base, "text", make_adapter("lora", {}), {}, 1)
    # Else the first client of a process would train without dropout, and those after it with.
    assert not any(part.training for part in model.module.modules())
    model.load(np.random.default_rng(0).normal(size=model.schema.size).astype(np.float32))
    write_adapter(tmp_path, model.arrays(), model.peft_config("x"), "card")
    plain = AutoModelForSequenceClassification.from_pretrained(bert_folder, num_labels=2)
    loaded = PeftModel.from_pretrained(plain, tmp_path).eval()
    tokens = {"input_ids": torch.tensor([[2, 5, 7, 3], [2, 6, 7, 3]])}
    with torch.no_grad():
        assert torch.equal(model.module.eval()(**tokens).logits, loaded(**tokens).logits)


def test_lora_of_the_benchmark_model_has_8842_numbers() -> None:
    from transformers import ViTConfig, ViTForImageClassification

    from models.tasks import LoadedBase

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
    module = ViTForImageClassification(config).requires_grad_(False)
    model = AdaptedModel(
        LoadedBase(module, ("classifier",)), "image", make_adapter("lora", {}), {}, 0
    )
    assert model.schema.size == 8842
    assert model.schema.facts["scaling"] == 2.0


def test_the_flat_buffer_is_what_trains(vit_folder: Path) -> None:
    model = vit(vit_folder)
    before = model.read()
    loss = model.module(pixel_values=torch.ones(2, 1, 28, 28)).logits.square().sum()
    loss.backward()
    assert model.flat.grad is not None
    assert float(model.flat.grad.abs().sum()) > 0
    torch.optim.SGD([model.flat], lr=0.1).step()
    after = model.arrays()
    assert not np.array_equal(before, after.vector)
    weight = model.module.get_parameter(
        "base_model.model.classifier.modules_to_save.default.weight"
    )
    np.testing.assert_array_equal(
        after["base_model.model.classifier.weight"], weight.detach().numpy()
    )


def test_same_seed_same_start_other_seed_other_start(vit_folder: Path) -> None:
    assert np.array_equal(vit(vit_folder, seed=1).read(), vit(vit_folder, seed=1).read())
    assert not np.array_equal(vit(vit_folder, seed=1).read(), vit(vit_folder, seed=2).read())


def test_a_layer_that_is_not_there_is_named_with_what_is(vit_folder: Path) -> None:
    with pytest.raises(ModelError, match=r"no layer is called 'q_prj'; did you mean 'q_proj'"):
        vit(vit_folder, targets="q_prj")


def test_biases_that_are_not_there_are_not_trained(llama_folder: Path) -> None:
    base = load_base(llama_folder, "causal-lm", (), 5)
    with pytest.raises(ModelError, match="'bias' finds nothing to train in LlamaForCausalLM"):
        AdaptedModel(base, "causal-lm", make_adapter("bias", {}), {"base": "f"}, 1)


def test_options_are_checked_all_at_once() -> None:
    errors = adapter_errors("lora", {"rnk": 4, "alpha": -1})
    assert len(errors) == 2
    assert any("did you mean 'rank'" in line for line in errors)
    with pytest.raises(ConfigurationError, match="did you mean 'lora'"):
        make_adapter("lorra", {})
    assert set(ADAPTERS) == {"lora", "fairlora", "ia3", "bias", "head"}


@pytest.mark.parametrize("kind", sorted(ADAPTERS))
def test_a_base_in_half_precision_trains_float32_adapters(
    kind: str, vit_folder: Path, tmp_path: Path
) -> None:
    half = AutoModelForImageClassification.from_pretrained(vit_folder).to(torch.bfloat16)
    half.save_pretrained(tmp_path / "half")
    model = vit(tmp_path / "half", kind)
    before = model.read()
    x = torch.randn(4, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    torch.nn.functional.cross_entropy(
        model.module(pixel_values=x.to(next(model.module.parameters()).dtype)).logits,
        torch.tensor([0, 1, 2, 3]),
    ).backward()
    torch.optim.SGD([model.flat], lr=0.1).step()
    after = model.arrays()
    assert after.vector.dtype == np.float32
    assert not np.array_equal(before, after.vector)
    # Steps far below bfloat16's resolution must not be lost.
    model.load(before + np.float32(1e-4) * np.sign(before + 1e-9))
    assert not np.array_equal(model.read(), before)
    write_adapter(tmp_path / "adapter", after, model.peft_config("half"), "card")
    plain = AutoModelForImageClassification.from_pretrained(tmp_path / "half", dtype=torch.float32)
    loaded = PeftModel.from_pretrained(plain, tmp_path / "adapter").eval()
    model.load(after.vector)
    with torch.no_grad():
        ours = model.module.eval()(
            pixel_values=x.to(next(model.module.parameters()).dtype)
        ).logits.float()
        np.testing.assert_allclose(ours, loaded(pixel_values=x).logits, atol=0.05)
