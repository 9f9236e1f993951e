"""A layer before the head gives features of any model one length."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import RobertaConfig, RobertaModel

from clients.bases import assemble
from models.adapted import AdaptedModel
from models.errors import ModelError
from models.features import feature_size, features, head, last_layer
from models.prototypes.projection import projected
from models.prototypes.tables import last_layer_keys
from models.tasks import LoadedBase


def built(folder: Path, kind: str, feature_dim: int, seed: int = 0) -> AdaptedModel:
    return assemble(
        folder,
        kind=kind,
        labels=("a", "b", "c"),
        base="b",
        adapter="lora",
        adapter_args={},
        seed=seed,
        device="cpu",
        feature_dim=feature_dim,
    )


@pytest.mark.parametrize("size", [3, 5, 64])
def test_images_have_features_of_the_length_asked_for(vit_folder: Path, size: int) -> None:
    model = built(vit_folder, "image", size)
    model.module.eval()
    assert feature_size(model) == size
    batch = {"pixel_values": torch.randn(2, 1, 28, 28)}
    f = features(model, batch)
    assert f.shape == (2, size)
    torch.testing.assert_close(head(model, f), model.module(**batch).logits)
    weight, bias = last_layer_keys(model.schema)
    assert model.schema.slices[weight][1] == (3, size)
    assert model.schema.slices[bias][1] == (3,)
    # Both layers are trained and belong to the head, which is not shared where heads are not.
    assert sum(model.schema.in_head(key) for key in model.schema.slices) == 4
    assert last_layer(model).weight.requires_grad


def test_the_features_of_a_text_model_leave_the_bounds_of_its_pooler(bert_folder: Path) -> None:
    plain, longer = built(bert_folder, "text", 0), built(bert_folder, "text", 24)
    batch = {
        "input_ids": torch.randint(5, 10, (4, 6)),
        "attention_mask": torch.ones(4, 6, dtype=torch.int64),
    }
    for model in (plain, longer):
        model.module.eval()
    assert float(features(plain, batch).detach().abs().max()) <= 1
    # Anchors are far out of there; a step of the projection reaches them, none of the pooler does.
    with torch.no_grad():
        key = last_layer_keys(longer.schema)[0].replace(".1.weight", ".0.bias")
        longer.flat.data[longer.schema.slices[key][0]] += 3
    assert float(features(longer, batch).detach().min()) > 1


def test_every_layer_of_a_head_is_trained(bert_folder: Path, tmp_path: Path) -> None:
    """PEFT takes ``classifier`` by itself for texts; layers inside must not be taken twice."""
    config = RobertaConfig(
        vocab_size=20,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=40,
    )
    RobertaModel(config).save_pretrained(tmp_path / "roberta")
    batch = {
        "input_ids": torch.randint(5, 10, (4, 6)),
        "attention_mask": torch.ones(4, 6, dtype=torch.int64),
    }
    for folder, size in ((tmp_path / "roberta", 0), (tmp_path / "roberta", 7), (bert_folder, 7)):
        model = built(folder, "text", size)
        logits = model.module(**batch).logits
        logits.square().sum().backward()
        gradient = model.flat.grad
        assert gradient is not None
        heads = [key for key in model.schema.slices if model.schema.in_head(key)]
        assert len(heads) >= 4
        for key in heads:
            assert float(gradient[model.schema.slices[key][0]].abs().max()) > 0, key
        model.module.eval()
        torch.testing.assert_close(
            head(model, features(model, batch)), model.module(**batch).logits
        )


def test_first_numbers_follow_from_the_seed_alone(vit_folder: Path) -> None:
    one, same, other = (built(vit_folder, "image", 5, seed) for seed in (1, 1, 2))
    torch.testing.assert_close(one.flat, same.flat, rtol=0, atol=0)
    place, _ = one.schema.slices[last_layer_keys(one.schema)[0]]
    assert not torch.equal(one.flat[place], other.flat[place])
    assert one.schema.hash == same.schema.hash != built(vit_folder, "image", 0, 1).schema.hash


def test_a_head_without_a_linear_layer_is_refused() -> None:
    module = torch.nn.Sequential(torch.nn.Conv1d(3, 3, 1))
    with pytest.raises(ModelError, match="needs a head that ends in a linear layer"):
        projected(LoadedBase(module, ("0",)), 3, 5, 0)
