"""Batches of tokens: exact targets, and packed texts that do not see each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    GPT2Config,
    LlamaConfig,
    MambaConfig,
    PretrainedConfig,
)

from clients.language.encoding import Tokens
from clients.language.inputs import PackedInputs, TokenInputs
from clients.language.packing import require_packing
from clients.objectives import CrossEntropy
from clients.objectives.base import cross_entropies, cross_entropy
from clients.plan import Recipe
from clients.preparation import IGNORED, TARGETS
from clients.training import Prepared, Trained, train
from models.adapted import AdaptedModel
from models.adapters import Lora
from models.errors import ModelError
from models.tasks import LoadedBase

CPU = torch.device("cpu")


def tokens(ids: Sequence[int], unlearned: int = 0) -> Tokens:
    return Tokens(np.asarray(ids, np.int64), np.arange(len(ids)) >= unlearned)


THREE = [tokens([5, 6, 7]), tokens([8, 9], 1), tokens([10, 11, 12, 13], 2)]


def test_a_padded_batch() -> None:
    batch = TokenInputs(THREE, np.arange(3), 0).batch(np.array([0, 2]), CPU)
    assert batch["input_ids"].tolist() == [[5, 6, 7, 0], [10, 11, 12, 13]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]
    assert batch[TARGETS].tolist() == [[6, 7, IGNORED, IGNORED], [IGNORED, 12, 13, IGNORED]]


def test_a_packed_batch() -> None:
    packed = PackedInputs(THREE, np.array([4, 5, 6]), ["a"] * 3, 5, 0)
    assert (len(packed), packed.examples, packed.rows.tolist()) == (2, 3, [4, 6])
    batch = packed.batch(np.arange(2), CPU)
    assert batch["input_ids"].tolist() == [[5, 6, 7, 8, 9], [10, 11, 12, 13, 0]]
    assert batch["position_ids"].tolist() == [[0, 1, 2, 0, 1], [0, 1, 2, 3, 0]]
    assert batch[TARGETS].tolist() == [
        [6, 7, IGNORED, 9, IGNORED],
        [IGNORED, 12, 13, IGNORED, IGNORED],
    ]
    assert packed.mass(np.arange(2)) == 5 == TokenInputs(THREE, np.arange(3), 0).mass(np.arange(3))


def test_texts_of_two_groups_share_no_row() -> None:
    packed = PackedInputs(THREE, np.arange(3), ["a", "b", "a"], 9, 0)
    assert packed.rows.tolist() == [0, 1]


@given(st.lists(st.integers(2, 9), min_size=1, max_size=12), st.integers(9, 20))
def test_every_text_is_packed_once(lengths: list[int], width: int) -> None:
    texts = [tokens(np.full(length, number + 3)) for number, length in enumerate(lengths)]
    packed = PackedInputs(texts, np.arange(len(texts)), [0] * len(texts), width, 0)
    batch = packed.batch(np.arange(len(packed)), CPU)
    assert batch["input_ids"].shape[1] <= width
    found = np.bincount(batch["input_ids"].numpy().ravel(), minlength=len(texts) + 3)[3:]
    assert found.tolist() == lengths


def test_packed_and_padded_texts_have_one_loss_and_gradient(llama_folder: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(llama_folder).train()
    generator = np.random.default_rng(0)
    texts = [tokens(generator.integers(3, 200, size), 1) for size in (7, 3, 9, 5)]
    gradients, losses = [], []
    for inputs in (
        TokenInputs(texts, np.arange(4), 0),
        PackedInputs(texts, np.arange(4), [0] * 4, 16, 0),
    ):
        batch = inputs.batch(np.arange(len(inputs)), CPU)
        targets = batch.pop(TARGETS)
        model.zero_grad()
        loss = cross_entropy(model(**batch, use_cache=False).logits, targets)
        loss.backward()
        gradients.append(model.model.embed_tokens.weight.grad.clone())
        losses.append(float(loss.detach()))
    torch.testing.assert_close(*gradients, atol=1e-6, rtol=1e-4)
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


def adapted(config: PretrainedConfig, targets: str) -> AdaptedModel:
    torch.manual_seed(0)
    module = AutoModelForCausalLM.from_config(config)
    module.config.use_cache = False
    return AdaptedModel(LoadedBase(module, ()), "causal-lm", Lora(targets=targets), {}, 0)


def test_packing_is_refused_where_texts_of_a_row_see_each_other() -> None:
    small = {"vocab_size": 64, "hidden_size": 16, "num_hidden_layers": 1}
    llama = LlamaConfig(**small, intermediate_size=32, num_attention_heads=2)
    require_packing(adapted(llama, "q_proj"))
    gpt2 = GPT2Config(vocab_size=64, n_embd=16, n_layer=1, n_head=2, n_positions=32)
    require_packing(adapted(gpt2, "c_attn"))
    for config, targets in (
        (MambaConfig(**small, state_size=4), "in_proj"),
        (BloomConfig(vocab_size=64, hidden_size=16, n_layer=1, n_head=2), "query_key_value"),
    ):
        with pytest.raises(ModelError, match=r"packing=true in task-args: \w+ForCausalLM does not"):
            require_packing(adapted(config, targets))


@pytest.mark.parametrize("packed", [False, True])
def test_a_step_in_pieces_weighs_every_token_alike(packed: bool) -> None:
    """However unequal the texts: the mean of the pieces' means would be another step."""
    small = LlamaConfig(
        vocab_size=64,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
    )
    model = adapted(small, "q_proj,v_proj")
    random = np.random.default_rng(0)
    texts = [tokens(random.integers(0, 64, size), size // 2) for size in (4, 24, 6, 15, 5, 20)]
    rows = np.arange(len(texts))
    inputs = PackedInputs(texts, rows, [0] * 6, 26, 0) if packed else TokenInputs(texts, rows, 0)
    data = Prepared(inputs, np.full(len(inputs), IGNORED), {})
    # B is 0 in the beginning, and A would have no gradient.
    start = random.normal(size=model.schema.size).astype(np.float32)

    def done(**options: object) -> Trained:
        recipe = Recipe(batch_size=6, optimizer="sgd", learning_rate=1.0, local_epochs=2)
        recipe = replace(recipe, **options)  # type: ignore[arg-type]
        generator = np.random.default_rng(1)
        return train(model, data, start, recipe, CrossEntropy(), generator)

    once = done()
    assert np.abs(once.vector - start).max() > 1e-3
    for pieces in (2, 3, 6):
        piecewise = done(accumulation=pieces)
        np.testing.assert_allclose(piecewise.vector, once.vector, atol=2e-6)
        assert piecewise.loss == pytest.approx(once.loss, rel=1e-5)
    np.testing.assert_array_equal(done(gradient_checkpointing=True).vector, once.vector)


def test_the_loss_is_that_of_transformers(llama_folder: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(llama_folder).eval()
    batch = TokenInputs(THREE, np.arange(3), 0).batch(np.arange(3), CPU)
    targets = batch.pop(TARGETS)
    labels = torch.full_like(batch["input_ids"], IGNORED)
    labels[:, 1:] = targets[:, :-1]
    with torch.no_grad():
        found = model(**batch, labels=labels)
    assert float(cross_entropy(found.logits, targets)) == pytest.approx(float(found.loss), abs=1e-6)
    each = cross_entropies(found.logits, targets)
    mean = float((each * torch.tensor([2, 1, 2])).sum() / 5)
    assert mean == pytest.approx(float(found.loss), abs=1e-6)
