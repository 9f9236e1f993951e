"""Texts without labels: which columns hold them, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from clients.data import DataSpec, load_federation
from clients.data.texts import Turn, plain_texts, texts_of
from models.errors import DataError

CHAT = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]
SHARED = [{"from": "system", "value": "be"}, {"from": "human", "value": "hi"}]


def load(tmp_path: Path, row: dict[str, object], rows: int = 6, **settings: str) -> object:
    file = tmp_path / "train.jsonl"
    file.write_text("\n".join([json.dumps(row)] * rows))
    spec = DataSpec(
        str(file), partition="iid", partition_args=(), num_clients=2, task="causal-lm", **settings
    )
    return load_federation(spec)


@pytest.mark.parametrize(
    ("row", "inputs", "text"),
    [
        ({"text": "a b"}, ("text",), "a b"),
        (
            {"instruction": "ask", "output": "tell", "text": "x"},
            ("instruction", "output"),
            (Turn("user", "ask"), Turn("assistant", "tell")),
        ),
        ({"messages": CHAT}, ("messages",), (Turn("user", "hi"), Turn("assistant", "ho"))),
        (
            {"conversations": [*SHARED, {"from": "gpt", "value": "ho"}], "id": "x_0"},
            ("conversations",),
            (Turn("system", "be"), Turn("user", "hi"), Turn("assistant", "ho")),
        ),
        (
            {"messages": [{**CHAT[0], "name": "bob"}, {**CHAT[1], "weight": 1}]},
            ("messages",),
            (Turn("user", "hi"), Turn("assistant", "ho")),
        ),
        (
            {"instruction": "add", "input": "1 and 2", "output": "3"},
            ("instruction", "input", "output"),
            (Turn("user", "add\n1 and 2"), Turn("assistant", "3")),
        ),
        (
            {"instruction": "who", "context": None, "response": "me", "category": "qa"},
            ("instruction", "response"),
            (Turn("user", "who"), Turn("assistant", "me")),
        ),
        (
            {"input": "1", "output": "3"},
            ("input", "output"),
            (Turn("user", "1"), Turn("assistant", "3")),
        ),
    ],
)
def test_columns_are_found(
    tmp_path: Path, row: dict[str, object], inputs: tuple[str, ...], text: object
) -> None:
    found = load(tmp_path, row)
    assert found.columns.inputs == inputs
    assert found.label_names == ()
    train = found.pooled().train
    assert set(texts_of(train)) == {text}
    assert plain_texts(train)[0] == (
        text if isinstance(text, str) else "\n".join(turn.content for turn in text)
    )


def test_what_a_prompt_is_about_may_be_missing_or_named(tmp_path: Path) -> None:
    file = tmp_path / "train.jsonl"
    rows = [{"q": "ask", "c": about, "a": "tell"} for about in ("x", "", None, "y")]
    file.write_text("\n".join(map(json.dumps, rows)))
    spec = DataSpec(str(file), partition="iid", partition_args=(), num_clients=1, task="causal-lm")
    named = replace(spec, prompt_column="q, c", response_column="a")
    asked = {text[0].content for text in texts_of(load_federation(named).pooled().train)}
    assert asked <= {"ask\nx", "ask", "ask\ny"}
    assert "ask" in asked
    with pytest.raises(DataError, match=r"no column 'd' \(prompt-column = 'd'\)"):
        load_federation(replace(named, prompt_column="q,d"))


@pytest.mark.parametrize(
    ("row", "settings", "says"),
    [
        ({"body": "a"}, {}, r"no texts found; looked for chats .*Columns there: body \(string\)"),
        (
            {"messages": [{"speaker": "a", "words": "b"}]},
            {},
            r"no texts found.*content, or from and value.*\(a list of speaker and words\)",
        ),
        ({"text": "a"}, {"text_column": "txt"}, r"no column 'txt' .*did you mean 'text'"),
        ({"text": "a"}, {"messages_column": "text"}, "not a list of messages"),
        ({"q": "a", "n": 3}, {"prompt_column": "q", "response_column": "n"}, "'n' holds int64"),
        ({"q": "a"}, {"prompt_column": "q"}, "response-column is not set"),
        ({"text": " "}, {}, r"column 'text': no text in 6 of 6 rows \(first: row 0, 1, 2, ...\)"),
        ({"prompt": "", "response": ""}, {}, "column 'response': no text in 6 of 6"),
        ({"messages": [*CHAT, None]}, {}, "'messages': a message whose role or content is no text"),
        (
            {"messages": [*CHAT, {"role": "assistant", "content": None, "tool_calls": ["x"]}]},
            {},
            "a message whose role or content is no text in 6 of 6 rows",
        ),
        (
            {"messages": CHAT[:1]},
            {},
            r"no message of the role 'assistant' with a text \(roles there: user\)",
        ),
    ],
)
def test_what_cannot_be_continued_is_refused(
    tmp_path: Path, row: dict[str, object], settings: dict[str, str], says: str
) -> None:
    with pytest.raises(DataError, match=says):
        load(tmp_path, row, **settings)
