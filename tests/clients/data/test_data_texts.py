"""Texts without labels: which columns hold them, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clients.data import DataSpec, load_federation
from clients.data.texts import Turn, plain_texts, texts_of
from models.errors import DataError

CHAT = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]


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
        text if isinstance(text, str) else f"{text[0].content}\n{text[1].content}"
    )


@pytest.mark.parametrize(
    ("row", "settings", "says"),
    [
        ({"body": "a"}, {}, r"no texts found; looked for chats .*Columns there: body"),
        ({"text": "a"}, {"text_column": "txt"}, r"no column 'txt' .*did you mean 'text'"),
        ({"text": "a"}, {"messages_column": "text"}, "not a list of messages"),
        ({"q": "a", "n": 3}, {"prompt_column": "q", "response_column": "n"}, "'n' holds int64"),
        ({"q": "a"}, {"prompt_column": "q"}, "response-column is not set"),
        ({"text": " "}, {}, r"column 'text': no text in 6 of 6 rows \(first: row 0, 1, 2, ...\)"),
        ({"prompt": "", "response": ""}, {}, "column 'response': no text in 6 of 6"),
        ({"messages": CHAT[:1]}, {}, "no message of the role 'assistant'"),
    ],
)
def test_what_cannot_be_continued_is_refused(
    tmp_path: Path, row: dict[str, object], settings: dict[str, str], says: str
) -> None:
    with pytest.raises(DataError, match=says):
        load(tmp_path, row, **settings)
