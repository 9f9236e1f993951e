"""What a model is given to continue, and where it stops."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from clients.bases import assemble
from clients.data import DataSpec, Examples, load_federation
from clients.language.options import LanguageOptions
from clients.language.preparation import LanguagePreparation
from clients.language.writing import Prompt, choose_prompts, write_texts
from models.adapted import AdaptedModel

PAIR = {"prompt": "2+2?", "response": "4"}
Load = Callable[[dict[str, object]], Examples]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Four equal rows as a data set."""

    def of(row: dict[str, object]) -> Examples:
        file = tmp_path / "train.jsonl"
        file.write_text("\n".join([json.dumps(row)] * 4))
        spec = DataSpec(
            str(file), partition="iid", partition_args=(), num_clients=1, task="causal-lm"
        )
        table = load_federation(spec).pooled().train.table
        return Examples(table, np.arange(4), "the test set")

    return of


def model(folder: Path) -> AdaptedModel:
    return assemble(
        folder,
        kind="causal-lm",
        labels=(),
        base="",
        adapter="lora",
        adapter_args={},
        seed=0,
        device="cpu",
    )


def test_plain_texts_are_continued_as_they_were_learned(llama_folder: Path, load: Load) -> None:
    """Behind the tokenizer's first token, and in no chat, though there is a template."""
    texts = load({"text": "to be or not to be"})
    plain = LanguagePreparation(llama_folder, 64, LanguageOptions(samples=1))
    assert choose_prompts(plain, texts, 0) == (Prompt("to be", " or not to be", True),)
    own = LanguagePreparation(llama_folder, 64, LanguageOptions(prompts=("to",)))
    assert choose_prompts(own, texts, 0) == (Prompt("to", "", True),)
    asked = "<s><|user|>\nto</s>\n<|assistant|>\n"
    assert choose_prompts(own, load(PAIR), 0) == (Prompt(asked, "", False),)
    assert choose_prompts(own, None, 0) == (Prompt(asked, "", False),)


def given_ids(adapted: AdaptedModel, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """Collect what the model is asked to write."""
    seen: list[dict[str, object]] = []
    generate = adapted.module.generate

    def spied(**asked: object) -> object:
        seen.append(asked)
        return generate(**asked)

    monkeypatch.setattr(adapted.module, "generate", spied)
    return seen


def test_a_model_writes_within_its_positions_and_ends_where_chats_end(
    tmp_path: Path, llama_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "short"
    shutil.copytree(llama_folder, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 12}))
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [2, 261]}))
    adapted = model(folder)
    seen = given_ids(adapted, monkeypatch)
    options = LanguageOptions.model_validate({"sample-tokens": 8})
    prepared = LanguagePreparation(folder, 64, options)
    prompts = [Prompt("abc"), Prompt("abcdefgh", special=False)]
    start = adapted.arrays().vector
    assert len(write_texts(adapted, start, prepared, prompts, 0)) == 2
    assert [asked["input_ids"].shape[1] for asked in seen] == [4, 4]  # type: ignore[attr-defined]
    assert [asked["max_new_tokens"] for asked in seen] == [8, 8]
    assert [asked["eos_token_id"] for asked in seen] == [[2, 261]] * 2
    first = [asked["input_ids"][0, 0].item() for asked in seen]  # type: ignore[index]
    assert first == [1, prepared.encoder.tokenizer("e", add_special_tokens=False)["input_ids"][0]]
