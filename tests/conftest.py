"""Fixtures for all tests: a state folder of their own, the same random numbers, small bases."""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")

import pytest
import torch
from hypothesis import settings

# The same examples in every run, however slow the machine; HYPOTHESIS_PROFILE=default looks for new
# ones.
settings.register_profile("same", derandomize=True, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))


@pytest.fixture(scope="session", autouse=True)
def _own_state(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep bases, plans and cards of the tests out of the user's home."""
    os.environ["BOUQUET_HOME"] = str(tmp_path_factory.mktemp("state"))


@pytest.fixture(autouse=True)
def _same_numbers() -> None:
    """Whatever a test draws without saying from where, it draws the same alone and among others."""
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _task_identity() -> None:
    """Let a Flower message be made outside a run."""
    from flwr.supercore.task_identity import TaskIdentity

    TaskIdentity.task_id = TaskIdentity.run_id = TaskIdentity.node_id = 1


@pytest.fixture(scope="session")
def vit_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a very small ViT with random weights, for ten classes of grey images."""
    from fedbouquet.testing import tiny_base

    return tiny_base(tmp_path_factory.mktemp("vit"))


@pytest.fixture(scope="session")
def llama_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a very small Llama with random weights, a byte tokenizer and a template."""
    from models.bases.tiny_llama import new_model, train_tokenizer

    folder = tmp_path_factory.mktemp("llama")
    tokenizer = train_tokenizer(["to be or not to be"], 262)
    new_model(tokenizer, 0, 16, 2).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def bert_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a very small BERT encoder with random weights and a word tokenizer."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("bert")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "film", "a", "very"]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
    )
    BertModel(config).save_pretrained(folder)
    BertTokenizerFast(vocab=str(folder / "vocab.txt")).save_pretrained(folder)
    return folder
