"""Which tokens of a text are learned, and what becomes of long texts."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clients.data import DataSpec, Examples, load_federation
from clients.data.texts import Turn
from clients.language.encoding import TextEncoder
from clients.language.options import LanguageOptions
from clients.language.preparation import LanguagePreparation
from clients.preparation import load_tokenizer
from models.errors import DataError, ModelError

PAIR = (Turn("user", "2+2?"), Turn("assistant", "4"))
CHAT = (*PAIR, Turn("user", "sure?"), Turn("assistant", "yes"))
MARKED = (
    "{% for m in messages %}{{ m['role'] + ':' }}{% if m['role'] == 'assistant' %}"
    "{% generation %}{{ m['content'] }}{% endgeneration %}{% else %}{{ m['content'] }}"
    "{% endif %}{% endfor %}"
)
SAID = "{% for m in messages %}{{ m['role'] + ':' + m['content'] }}{% endfor %}"
THINKING = (
    "{% for m in messages %}{{ '<' + m['role'] + '>' }}"
    "{% if m['role'] == 'assistant' and loop.last %}{{ '<think>' }}{% endif %}"
    "{{ m['content'] + eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<assistant>' }}{% endif %}"
)
FORGETFUL = (
    "{% for m in messages %}{% if loop.last or m['role'] == 'user' %}{{ m['content'] }}"
    "{% endif %}{% endfor %}"
)


@pytest.fixture
def tokenizer(llama_folder: Path) -> Any:
    return load_tokenizer(llama_folder)


def learned(tokenizer: Any, text: object, **options: object) -> tuple[str, str]:
    """The whole text, and what of it is learned."""
    encoder = TextEncoder(tokenizer, LanguageOptions.model_validate(options))
    (tokens,) = encoder.encode([text], "client 'a'")  # type: ignore[list-item]
    return tokenizer.decode(tokens.ids), tokenizer.decode(tokens.ids[tokens.learned])


def test_a_plain_text_is_learned_with_its_end(tokenizer: Any) -> None:
    assert learned(tokenizer, "to be") == ("<s>to be</s>", "to be</s>")


def test_of_chats_only_the_responses_are_learned(tokenizer: Any) -> None:
    whole, part = learned(tokenizer, CHAT)
    assert whole == (
        "<s><|user|>\n2+2?</s>\n<|assistant|>\n4</s>\n<|user|>\nsure?</s>\n<|assistant|>\nyes</s>\n"
    )
    assert part == "4</s>\nyes</s>\n"
    assert learned(tokenizer, CHAT, **{"loss-on": "all"}) == (whole, whole)


@pytest.mark.parametrize("mark", ["{% ", "{%- ", "{%"])
def test_generation_marks_of_a_template_are_used(tokenizer: Any, mark: str) -> None:
    tokenizer.chat_template = MARKED.replace("{% generation", f"{mark}generation")
    assert learned(tokenizer, CHAT) == ("user:2+2?assistant:4user:sure?assistant:yes", "4yes")


def test_a_chat_may_begin_with_a_response(tokenizer: Any) -> None:
    whole, part = learned(tokenizer, CHAT[1:])
    assert whole == "<s><|assistant|>\n4</s>\n<|user|>\nsure?</s>\n<|assistant|>\nyes</s>\n"
    assert part == "4</s>yes</s>\n"
    tokenizer.chat_template = SAID
    assert learned(tokenizer, CHAT[1:2])[1] == "4"


def test_templates_that_write_earlier_turns_anew(tokenizer: Any) -> None:
    """As those of models that think: only the last response stands behind a thought."""
    tokenizer.chat_template = THINKING
    whole, part = learned(tokenizer, CHAT)
    assert whole == "<user>2+2?</s><assistant>4</s><user>sure?</s><assistant><think>yes</s>"
    assert part == "4</s><think>yes</s>"
    twice = (*CHAT[:3], Turn("assistant", "4"), *CHAT[2:])
    assert learned(tokenizer, twice)[1] == "4</s>4</s><think>yes</s>"


def test_a_prompt_and_its_response_need_no_template(tokenizer: Any) -> None:
    tokenizer.chat_template = None
    assert learned(tokenizer, PAIR) == ("<s>2+2?\n4</s>", "4</s>")
    assert learned(tokenizer, PAIR, **{"loss-on": "all"})[1] == "2+2?\n4</s>"
    asked = {"prompt-template": "Q: {prompt} A: "}
    assert learned(tokenizer, PAIR, **asked) == ("<s>Q: 2+2? A: 4</s>", "4</s>")


def test_what_cannot_be_told_apart_is_refused(tokenizer: Any) -> None:
    tokenizer.chat_template = FORGETFUL
    with pytest.raises(DataError, match=r"client 'a'.*cannot be told apart.*loss-on='all'"):
        learned(tokenizer, CHAT)
    tokenizer.chat_template = "{{ raise_exception('no system role') }}"
    with pytest.raises(DataError, match=r"client 'a'.*roles user, assistant: no system role"):
        learned(tokenizer, PAIR)
    tokenizer.chat_template = "{{ 'a' + 1 }}"
    with pytest.raises(DataError, match=r"client 'a'.*roles user, assistant: can only concat"):
        learned(tokenizer, PAIR)
    with pytest.raises(ModelError, match=r"prompt-template in task-args is for one prompt"):
        learned(tokenizer, CHAT, **{"prompt-template": "Q: {prompt} A: "})
    tokenizer.chat_template = None
    with pytest.raises(ModelError, match="no chat template, and chats need one"):
        learned(tokenizer, CHAT)


def test_prompts_end_where_the_response_begins(tokenizer: Any) -> None:
    encoder = TextEncoder(tokenizer, LanguageOptions())
    before, after = encoder.prompt(CHAT)
    assert before.endswith("<|user|>\nsure?</s>\n<|assistant|>\n")
    assert after == "yes"
    assert encoder.prompt("one two three four five six") == ("one two", " three four five six")


def examples(tmp_path: Path, rows: list[dict[str, object]]) -> Examples:
    file = tmp_path / "train.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    found = load_federation(
        DataSpec(str(file), partition="iid", partition_args=(), num_clients=1, task="causal-lm")
    ).pooled()
    table = found.train.table
    return Examples(table, np.arange(len(table)), "client 'a'")


def test_long_texts_are_cut_dropped_or_refused(
    tmp_path: Path, llama_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [{"text": "x" * size} for size in (3, 30, 4, 5)]
    given = examples(tmp_path, rows)

    def prepared(**options: object) -> Any:
        own = LanguageOptions.model_validate(options)
        return LanguagePreparation(llama_folder, 10, own).inputs(given)

    with caplog.at_level(logging.WARNING):
        assert prepared().length(np.arange(4)) == 10
    assert "1 of 4 texts are longer than max-length = 10 tokens (the longest: 32)" in caplog.text
    assert prepared(**{"too-long": "drop"}).rows.tolist() == [0, 2, 3]
    with pytest.raises(DataError, match=r"client 'a': 1 of 4 texts .*raise max-length"):
        prepared(**{"too-long": "refuse"})


def test_a_response_beyond_the_cut_leaves_nothing_to_learn(
    tmp_path: Path, llama_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [{"prompt": "p" * size, "response": "yes"} for size in (1, 40, 1, 1)]
    given = examples(tmp_path, rows)
    with caplog.at_level(logging.WARNING):
        found = LanguagePreparation(llama_folder, 45, LanguageOptions()).inputs(given)
    assert found.rows is not None
    assert found.rows.tolist() == [0, 2, 3]
    assert "1 of 4 texts are left out" in caplog.text


def test_texts_without_anything_to_learn_are_refused(tmp_path: Path, llama_folder: Path) -> None:
    given = examples(tmp_path, [{"prompt": "p" * 40, "response": "yes"}] * 4)
    with pytest.raises(DataError, match=r"'a': none of 4 texts .* first 45 tokens: raise max-len"):
        LanguagePreparation(llama_folder, 45, LanguageOptions()).inputs(given)


def test_no_text_goes_beyond_the_positions_of_the_model(
    tmp_path: Path, llama_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "short"
    shutil.copytree(llama_folder, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 9}))
    given = examples(tmp_path, [{"text": "x" * size} for size in (3, 30, 4, 5)])
    with caplog.at_level(logging.WARNING):
        prepared = LanguagePreparation(folder, 20, LanguageOptions())
        assert prepared.inputs(given).length(np.arange(4)) == 9
    assert "1 of 4 texts are longer than the model's positions, 9 tokens" in caplog.text
    refusing = LanguagePreparation(folder, 20, LanguageOptions(too_long="refuse"))
    with pytest.raises(DataError, match=r"the model's positions, 9 .*shorten them"):
        refusing.inputs(given)


def test_a_tokenizer_of_another_model_is_refused(tmp_path: Path, llama_folder: Path) -> None:
    folder = tmp_path / "other"
    shutil.copytree(llama_folder, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "vocab_size": 90}))
    prepared = LanguagePreparation(folder, 20, LanguageOptions())
    assert len(prepared.inputs(examples(tmp_path, [{"text": "abc"}] * 4))) == 4
    with pytest.raises(ModelError, match=r"other' writes token \d+, and the model there has 90"):
        prepared.inputs(examples(tmp_path, [{"text": "abc\u00e4"}] * 4))
