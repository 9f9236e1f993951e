from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import GPT2Config, GPT2ForSequenceClassification, ViTConfig, ViTModel

from models.adapted import AdaptedModel
from models.adapters import make_adapter
from models.errors import ModelError
from models.features import feature_size, features, head
from models.tasks import Kind, LoadedBase, load_base


def adapted(folder: Path, kind: Kind, labels: int, adapter: str = "lora") -> AdaptedModel:
    base = load_base(folder, kind, tuple(str(i) for i in range(labels)), 5)
    return AdaptedModel(base, kind, make_adapter(adapter, {}), {"labels": labels}, 1)


def images(count: int = 3) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {"pixel_values": torch.randn(count, 1, 28, 28, generator=generator)}


def texts() -> dict[str, torch.Tensor]:
    ids = torch.tensor([[2, 5, 7, 3], [2, 6, 3, 0]])
    return {"input_ids": ids, "attention_mask": (ids != 0).long()}


@pytest.mark.parametrize("adapter", ["lora", "bias", "head"])
@pytest.mark.parametrize("kind", ["image", "text"])
def test_the_head_of_the_features_is_the_model(
    kind: Kind, adapter: str, vit_folder: Path, bert_folder: Path
) -> None:
    image = kind == "image"
    model = adapted(vit_folder if image else bert_folder, kind, 10 if image else 2, adapter)
    batch = images() if image else texts()
    assert feature_size(model) == 16
    model.module.eval()
    f = features(model, batch)
    assert f.shape == (len(next(iter(batch.values()))), 16)
    assert f.dtype == torch.float32
    assert float(f.detach().std()) > 0.01
    assert torch.equal(head(model, f), model.module(**batch).logits)


def test_dropout_before_the_head_belongs_to_the_features(bert_folder: Path) -> None:
    model = adapted(bert_folder, "text", 2)
    model.module.train()
    torch.manual_seed(3)
    whole = model.module(**texts()).logits
    torch.manual_seed(3)
    f = features(model, texts())
    assert torch.equal(head(model, f), whole)
    assert (f == 0).any()


def test_gradients_are_those_of_the_whole_model(vit_folder: Path) -> None:
    model = adapted(vit_folder, "image", 10)
    assert model.flat.grad is not None
    model.module.eval()
    targets = torch.tensor([0, 1, 2])
    torch.nn.functional.cross_entropy(model.module(**images()).logits, targets).backward()
    whole = model.flat.grad.clone()
    model.flat.grad.zero_()
    f = features(model, images())
    torch.nn.functional.cross_entropy(head(model, f), targets).backward()
    assert torch.equal(model.flat.grad, whole)
    assert float(whole.abs().sum()) > 0


def test_features_leave_nothing_behind(vit_folder: Path) -> None:
    model = adapted(vit_folder, "image", 10)
    hooks = [len(part._forward_pre_hooks) for part in model.module.modules()]
    features(model, images())
    with pytest.raises(RuntimeError, match="Kernel size"):
        features(model, {"pixel_values": torch.zeros(1, 1, 5, 5)})
    assert [len(part._forward_pre_hooks) for part in model.module.modules()] == hooks


def test_a_decoder_classifies_by_its_last_token() -> None:
    torch.manual_seed(0)
    module = GPT2ForSequenceClassification(
        GPT2Config(
            vocab_size=12, n_positions=16, n_embd=8, n_layer=2, n_head=2, num_labels=3,
            pad_token_id=0,
        )
    ).requires_grad_(False)  # fmt: skip
    model = AdaptedModel(
        LoadedBase(module, ("score",)),
        "text",
        make_adapter("lora", {"targets": "c_attn"}),
        {"labels": 3},
        0,
    )
    model.module.eval()
    f = features(model, texts())
    assert f.shape == (2, 8)
    torch.testing.assert_close(head(model, f), model.module(**texts()).logits, rtol=0, atol=1e-6)


def test_a_base_in_half_precision_gives_full_features(vit_folder: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForImageClassification

    half = AutoModelForImageClassification.from_pretrained(vit_folder).to(torch.bfloat16)
    half.save_pretrained(tmp_path)
    model = adapted(tmp_path, "image", 10)
    model.module.eval()
    batch = {"pixel_values": images()["pixel_values"].to(torch.bfloat16)}
    f = features(model, batch)
    assert f.dtype == torch.float32
    assert torch.equal(head(model, f), model.module(**batch).logits)


def test_a_model_without_a_linear_head_is_refused() -> None:
    module = ViTModel(ViTConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1))
    module.requires_grad_(False)
    model = AdaptedModel(
        LoadedBase(module, ("layernorm",)), "image", make_adapter("lora", {}), {"labels": 3}, 0
    )
    with pytest.raises(ModelError, match="3 outputs"):
        features(model, {})
