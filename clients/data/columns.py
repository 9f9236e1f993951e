"""Which columns are the input, which is the label: named by the person, else detected."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from clients.data.spec import DataSpec
from clients.data.texts import is_chat
from models.errors import DataError, nearest

if TYPE_CHECKING:
    import datasets

_LABEL_NAMES = ("label", "labels", "target", "class", "intent")
_IMAGE_NAMES = ("image", "img")
_CHAT_NAMES = ("messages", "conversation", "conversations", "chat")
_PROMPT_NAMES = ("prompt", "instruction", "question", "input")
# What a prompt is about, in a column of its own: that of Alpaca, and that of Dolly.
_ABOUT_NAMES = ("input", "context")
_RESPONSE_NAMES = ("response", "completion", "output", "answer")
_TEXT_NAMES = ("text", "sentence", "content")
_NUMBERS = ("int", "uint", "float")


@dataclass(frozen=True)
class Columns:
    """The columns in use.

    Attributes
    ----------
    kind : {"text", "image", "table", "causal-lm"}
        What the input is.
    inputs : tuple of str
        Names of the columns that the model reads: one, of a table at least one; of prompts with
        their responses those of the prompt, then that of the response.
    label : str
        Name of the labels' column; empty where rows have none.
    groups : tuple of str
        Columns by which results are also reported.
    """

    kind: Literal["text", "image", "table", "causal-lm"]
    inputs: tuple[str, ...]
    label: str
    groups: tuple[str, ...]

    @property
    def input(self) -> str:
        """The column of the texts or images."""
        return self.inputs[0]

    def __str__(self) -> str:
        """Return what the input is, for messages."""
        names = ", ".join(f"'{name}'" for name in self.inputs[:3])
        more = f", ... ({len(self.inputs)})" if len(self.inputs) > 3 else ""
        return f"{self.kind} in column{'s' if len(self.inputs) > 1 else ''} {names}{more}"


def find_columns(dataset: datasets.Dataset, spec: DataSpec, owner: str) -> Columns:
    """Return the columns that a spec names, or those detected.

    Parameters
    ----------
    dataset : datasets.Dataset
        A whole split.
    spec : DataSpec
        Explicit names win over detection.
    owner : str
        Who holds the data (a client, a data set), for messages.

    Raises
    ------
    DataError
        If a column is missing, ambiguous or of the wrong type; names owner, column and setting.
    """
    features = dataset.features
    for name, setting in (
        (spec.text_column, "text-column"),
        (spec.image_column, "image-column"),
        (spec.label_column, "label-column"),
        *((prompt, "prompt-column") for prompt in _listed(spec.prompt_column, features)),
        (spec.response_column, "response-column"),
        (spec.messages_column, "messages-column"),
        *((group, "group-columns") for group in spec.group_columns),
        *((column, "table-columns") for column in spec.table_columns),
    ):
        if name:
            require_column(dataset, name, setting, owner)
    if spec.task == "causal-lm":
        return find_texts(features, spec, owner)
    if spec.text_column and spec.image_column:
        raise DataError(
            f"{owner}: text-column = '{spec.text_column}' and image-column = "
            f"'{spec.image_column}' are both set; set the one that is the model's input"
        )
    label = spec.label_column or _detect_label(dataset, spec, owner)
    if spec.table_columns:
        return _table(features, spec, spec.table_columns, label, owner)
    image = spec.image_column
    if not image and not spec.text_column:
        image = _detect_image(features, label)
    if image:
        if not is_image(features[image]):
            raise DataError(
                f"{owner}: image-column = '{image}' holds {_described(features[image])}, not "
                "images; save the column as images, or set text-column if it is text"
            )
        return Columns("image", (image,), label, spec.group_columns)
    text = spec.text_column or _first(features, label, _TEXT_NAMES, _is_text)
    if not text:
        # A column that says whose row it is would tell the clients apart, not their examples.
        apart = {label, *spec.group_columns, str(spec.arguments.get("column", ""))}
        rest = tuple(name for name in features if name not in apart and _is_cell(features[name]))
        return _table(features, spec, rest, label, owner)
    if not _is_text(features[text]):
        raise DataError(
            f"{owner}: text-column = '{text}' holds {_described(features[text])}, not text; "
            "choose a column of text"
        )
    return Columns("text", (text,), label, spec.group_columns)


def _table(
    features: datasets.Features,
    spec: DataSpec,
    names: tuple[str, ...],
    label: str,
    owner: str,
) -> Columns:
    """Return the columns of a table, whose cells are numbers or names."""
    if not names:
        raise DataError(
            f"{owner}: no input column found; looked for an image column, for "
            f"{', '.join(_TEXT_NAMES)}, and for numbers and names beside label and groups. "
            f"Columns there: {', '.join(features)}. Set text-column, image-column or table-columns"
        )
    for name in names:
        if name == label or not _is_cell(features[name]):
            held = "the label" if name == label else _described(features[name])
            raise DataError(
                f"{owner}: column '{name}' (table-columns) holds {held}; choose columns of "
                "numbers, names or booleans beside the label"
            )
    return Columns("table", names, label, spec.group_columns)


def find_texts(features: datasets.Features, spec: DataSpec, owner: str) -> Columns:
    """Return the columns of texts to be continued: chats, prompts with responses, or plain texts.

    Raises
    ------
    DataError
        If there are none, or they hold something else; names owner, columns and settings.
    """
    chat, response, text = spec.messages_column, spec.response_column, spec.text_column
    prompts = _listed(spec.prompt_column, features)
    if not (chat or prompts or response or text):
        chat = _first(features, "", _CHAT_NAMES, is_chat)
        if not chat:
            prompts, response = _detect_pair(features)
            text = "" if response else _first(features, "", _TEXT_NAMES, _is_text)
    if chat:
        if not is_chat(features[chat]):
            raise DataError(
                f"{owner}: messages-column = '{chat}' holds {_described(features[chat])}, not a "
                "list of messages with role and content (or from and value); for plain texts set "
                "text-column"
            )
        return Columns("causal-lm", (chat,), "", spec.group_columns)
    if bool(prompts) != bool(response):
        missing = "response-column" if prompts else "prompt-column"
        raise DataError(
            f"{owner}: {missing} is not set; a prompt goes with its response. Columns there: "
            f"{', '.join(features)}"
        )
    for name, setting in (
        *((prompt, "prompt-column") for prompt in prompts),
        (response, "response-column"),
        (text, "text-column"),
    ):
        if name and not _is_text(features[name]):
            raise DataError(
                f"{owner}: {setting} = '{name}' holds {_described(features[name])}, not text; "
                "choose a column of text"
            )
    if not (prompts or text):
        there = ", ".join(f"{name} ({_described(kind)})" for name, kind in features.items())
        raise DataError(
            f"{owner}: no texts found; looked for chats ({', '.join(_CHAT_NAMES)}: lists of "
            "messages with role and content, or from and value), prompts with responses "
            f"({', '.join(_PROMPT_NAMES)} with {', '.join(_RESPONSE_NAMES)}) and plain texts "
            f"({', '.join(_TEXT_NAMES)}). Columns there: {there}. Set text-column, prompt-column "
            "with response-column, or messages-column"
        )
    return Columns("causal-lm", (*prompts, response or text), "", spec.group_columns)


def _detect_pair(features: datasets.Features) -> tuple[tuple[str, ...], str]:
    """Return the columns of prompts, what they are about behind them, and that of responses."""
    prompt = _first(features, "", _PROMPT_NAMES, _is_text)
    response = _first(features, prompt, _RESPONSE_NAMES, _is_text)
    if not (prompt and response):
        return (), ""
    about = _first(features, prompt, _ABOUT_NAMES, _is_text)
    return ((prompt, about) if about else (prompt,)), response


def _listed(columns: str, features: datasets.Features) -> tuple[str, ...]:
    """Return the columns that a setting names: one, or several between commas."""
    if columns in features:
        return (columns,)
    return tuple(name.strip() for name in columns.split(",") if name.strip())


def require_column(dataset: datasets.Dataset, name: str, setting: str, owner: str) -> None:
    """Raise a `DataError` naming owner, column and setting unless the column is there."""
    if name not in dataset.column_names:
        raise DataError(
            f"{owner}: no column '{name}' ({setting} = '{name}'); "
            f"{nearest(name, dataset.column_names)}. Set {setting} to one of them"
        )


def is_image(feature: object) -> bool:
    """Tell whether a feature is an image, decoded or as plain encoded bytes."""
    import datasets

    if isinstance(feature, datasets.Image):
        return True
    if isinstance(feature, dict):
        return {"bytes", "path"} == set(feature)
    return isinstance(feature, datasets.Value) and feature.dtype in ("binary", "large_binary")


def _is_text(feature: object) -> bool:
    return getattr(feature, "dtype", None) in ("string", "large_string", "string_view")


def _is_cell(feature: object) -> bool:
    import datasets

    kind = str(getattr(feature, "dtype", ""))
    plain = isinstance(feature, datasets.Value | datasets.ClassLabel)
    return plain and (_is_text(feature) or kind == "bool" or kind.startswith(_NUMBERS))


def _detect_label(dataset: datasets.Dataset, spec: DataSpec, owner: str) -> str:
    import datasets

    taken = {spec.text_column, spec.image_column, *spec.group_columns}
    free = [name for name in dataset.column_names if name not in taken]
    for wanted in _LABEL_NAMES:
        for name in free:
            if name.lower() == wanted:
                return str(name)
    classes = [n for n in free if isinstance(dataset.features[n], datasets.ClassLabel)]
    if len(classes) == 1:
        return str(classes[0])
    why = (
        f"several could be it: {', '.join(classes)}"
        if classes
        else f"looked for {', '.join(_LABEL_NAMES)} and for class labels"
    )
    raise DataError(
        f"{owner}: no label column found; {why}. Columns there: "
        f"{', '.join(dataset.column_names)}. Set label-column to one of them"
    )


def _detect_image(features: datasets.Features, label: str) -> str:
    """Return the image column by name, else the only one there is, else nothing."""
    import datasets

    images = [str(name) for name, kind in features.items() if isinstance(kind, datasets.Image)]
    only = images[0] if len(images) == 1 else ""
    return _first(features, label, _IMAGE_NAMES, is_image) or only


def _first(
    features: datasets.Features,
    label: str,
    wanted: Iterable[str],
    fits: Callable[[object], bool],
) -> str:
    """Return the first column with a known name and a fitting type, or nothing."""
    for name in wanted:
        for column in features:
            if column != label and column.lower() == name and fits(features[column]):
                return str(column)
    return ""


def _described(feature: object) -> str:
    item = getattr(feature, "feature", None)
    if isinstance(item, dict):
        return f"a list of {' and '.join(item)}"
    return str(getattr(feature, "dtype", None) or type(feature).__name__)
