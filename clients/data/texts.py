"""Texts that a language model is to continue: plain ones, prompts with responses, chats."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from models.errors import DataError

if TYPE_CHECKING:
    import datasets

    from clients.data.columns import Columns
    from clients.data.examples import Examples

USER, ASSISTANT = "user", "assistant"
# A message's speaker and words: as templates take them, and as ShareGPT wrote them.
_KEYS = (("role", "content"), ("from", "value"))
_ROLES = {"human": USER, "gpt": ASSISTANT}


@dataclass(frozen=True)
class Turn:
    """One message of a chat: who speaks, and what is said."""

    role: str
    content: str


Text = str | tuple[Turn, ...]
"""A plain text, or a chat; a prompt with its response is a chat of two turns."""


def is_chat(feature: object) -> bool:
    """Tell whether a feature is a list of messages, each with its speaker and words.

    Messages that differ in their keys (``name``, ``weight``) are read as JSON, and may be such.
    """
    item = getattr(feature, "feature", None)
    if isinstance(feature, list):
        item = feature[0] if feature else None
    if isinstance(item, dict):
        return any(set(keys) <= set(item) for keys in _KEYS)
    return type(item).__name__ == "Json"


def texts_of(examples: Examples) -> list[Text]:
    """Return the texts of some examples, in order."""
    columns = examples.columns
    chosen = examples.table.dataset.select_columns(list(columns.inputs))
    rows = chosen[examples.indices.tolist()]
    if columns.kind == "causal-lm" and len(columns.inputs) > 1:
        said = zip(*(rows[column] for column in columns.inputs), strict=True)
        return [
            (Turn(USER, "\n".join(filter(None, prompts))), Turn(ASSISTANT, response))
            for *prompts, response in said
        ]
    return [
        value if isinstance(value, str) else tuple(Turn(*_said(message)) for message in value)
        for value in rows[columns.input]
    ]


def _said(message: object) -> tuple[Any, Any]:
    """Return who speaks in a message, as templates name them, and what is said; None if neither."""
    given = message if isinstance(message, Mapping) else {}
    speaker, words = next((keys for keys in _KEYS if set(keys) <= set(given)), _KEYS[0])
    role = given.get(speaker)
    return _ROLES.get(str(role), role), given.get(words)


def plain_texts(examples: Examples) -> list[str]:
    """Return all that is said in some examples, each as one plain text."""
    return [
        text if isinstance(text, str) else "\n".join(turn.content for turn in text)
        for text in texts_of(examples)
    ]


def refuse_empty_texts(dataset: datasets.Dataset, columns: Columns, owner: str) -> None:
    """Raise a `DataError` that names column and rows where there is nothing to learn from."""
    # What a prompt is about may be missing.
    for column in dict.fromkeys([columns.input, columns.inputs[-1]]):
        values = dataset.select_columns([column])[:][column]
        if any(isinstance(value, list) for value in values):
            problem = _chat_problem
        else:
            problem = _text_problem if column == columns.inputs[-1] else _prompt_problem
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
    turns = [_said(message) for message in value]
    if not all(isinstance(role, str) and isinstance(content, str) for role, content in turns):
        return "a message whose role or content is no text"
    if not any(role == ASSISTANT and content.strip() for role, content in turns):
        found = ", ".join(dict.fromkeys(role for role, _ in turns))
        return f"no message of the role '{ASSISTANT}' with a text (roles there: {found})"
    return ""
