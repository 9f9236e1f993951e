"""Texts that a language model is to continue: plain ones, prompts with responses, chats."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from models.errors import DataError

if TYPE_CHECKING:
    import datasets

    from clients.data.columns import Columns
    from clients.data.examples import Examples

USER, ASSISTANT = "user", "assistant"


@dataclass(frozen=True)
class Turn:
    """One message of a chat: who speaks, and what is said."""

    role: str
    content: str


Text = str | tuple[Turn, ...]
"""A plain text, or a chat; a prompt with its response is a chat of two turns."""


def texts_of(examples: Examples) -> list[Text]:
    """Return the texts of some examples, in order."""
    columns = examples.columns
    chosen = examples.table.dataset.select_columns(list(columns.inputs))
    rows = chosen[examples.indices.tolist()]
    if columns.kind == "causal-lm" and len(columns.inputs) == 2:
        pairs = zip(*(rows[column] for column in columns.inputs), strict=True)
        return [(Turn(USER, prompt), Turn(ASSISTANT, response)) for prompt, response in pairs]
    return [
        value if isinstance(value, str) else tuple(Turn(m["role"], m["content"]) for m in value)
        for value in rows[columns.input]
    ]


def plain_texts(examples: Examples) -> list[str]:
    """Return all that is said in some examples, each as one plain text."""
    return [
        text if isinstance(text, str) else "\n".join(turn.content for turn in text)
        for text in texts_of(examples)
    ]


def refuse_empty_texts(dataset: datasets.Dataset, columns: Columns, owner: str) -> None:
    """Raise a `DataError` that names column and rows where there is nothing to learn from."""
    for column in columns.inputs:
        values = dataset.select_columns([column])[:][column]
        if any(isinstance(value, list) for value in values):
            problem = _chat_problem
        else:
            asks = column != columns.inputs[-1]
            problem = _prompt_problem if asks else _text_problem
        found = [(row, why) for row, value in enumerate(values) if (why := problem(value))]
        if found:
            rows = ", ".join(str(row) for row, _ in found[:3]) + (", ..." if found[3:] else "")
            raise DataError(
                f"{owner}: column '{column}': {found[0][1]} in {len(found)} of {len(values)} rows "
                f"(first: row {rows}); fill them in or remove those rows"
            )


def _prompt_problem(value: Any) -> str:
    # A model may well answer to nothing; it cannot learn to say nothing.
    return "" if isinstance(value, str) else "no text"


def _text_problem(value: Any) -> str:
    return "" if isinstance(value, str) and value.strip() else "no text"


def _chat_problem(value: Any) -> str:
    if not value:
        return "no messages"
    if not all(isinstance(m["role"], str) and isinstance(m["content"], str) for m in value):
        return "a message whose role or content is no text"
    if not any(m["role"] == ASSISTANT and m["content"].strip() for m in value):
        return f"no message of the role '{ASSISTANT}' with a text"
    return ""
