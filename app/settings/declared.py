"""The declared keys as data: for pyproject.toml, for ``bouquet settings`` and for the docs."""

from __future__ import annotations

import builtins
import types
import typing
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import cast, get_args, get_origin

import annotated_types
import tomli_w
from pydantic.fields import FieldInfo

from app.settings.settings import LARGEST, FlatValue, Settings, kebab

_KINDS: dict[object, str] = {bool: "true or false", int: "an integer", float: "a number"}


@dataclass(frozen=True)
class SettingKey:
    """One setting as a person sees it.

    Attributes
    ----------
    name : str
        The kebab-case key.
    default : str, int, float or bool
        What pyproject.toml declares.
    kind : str
        The type in words, such as ``"an integer"``.
    allowed : str
        Type and range in words.
    help : str
        One line.
    """

    name: str
    default: FlatValue
    kind: str
    allowed: str
    help: str


@lru_cache(maxsize=1)
def declared_keys() -> MappingProxyType[str, SettingKey]:
    """Return every setting by its key, in the order of declaration."""
    fields = Settings.model_fields.items()
    return MappingProxyType({kebab(name): _setting_key(kebab(name), f) for name, f in fields})


def default_config() -> dict[str, FlatValue]:
    """Return what ``[tool.flwr.app.config]`` in pyproject.toml must hold."""
    return {name: key.default for name, key in declared_keys().items()}


def config_block() -> str:
    """Return the table ``[tool.flwr.app.config]`` as TOML."""
    return f"[tool.flwr.app.config]\n{tomli_w.dumps(default_config())}"


def allowed_values(annotation: object, limits: Iterable[object] = ()) -> str:
    """Say in words what a pydantic field of numbers, texts or choices allows.

    Parameters
    ----------
    annotation : type
        As in ``FieldInfo.annotation``.
    limits : iterable
        As in ``FieldInfo.metadata``.
    """
    arguments = get_args(annotation)
    match get_origin(annotation):
        case typing.Literal if len(arguments) == 1:
            return str(arguments[0])
        case typing.Literal:
            return f"one of {', '.join(map(str, arguments))}"
        case typing.Union | types.UnionType:
            kinds = [kind for kind in arguments if kind is not types.NoneType]
            return "; or ".join(allowed_values(kind, limits) for kind in kinds)
        case typing.Annotated:
            kind, *fields = arguments
            own = [one for field in fields for one in getattr(field, "metadata", (field,))]
            return allowed_values(kind, [*limits, *own])
        case builtins.tuple:
            return "a list of texts"
    kind = "a finite number" if annotation is float else _KINDS.get(annotation, "a text")
    return ", ".join([kind, *_bounds(limits)])


def _setting_key(name: str, field: FieldInfo) -> SettingKey:
    default = cast("FlatValue", field.default)
    kind = _KINDS.get(type(default), "a text")
    # Lists and folders are read from texts: what the run-config holds is the default's type.
    chosen = get_origin(field.annotation) is typing.Literal
    allowed = allowed_values(field.annotation if chosen else type(default), field.metadata)
    return SettingKey(name, default, kind, allowed, field.description or "")


def _bounds(limits: Iterable[object]) -> Iterator[str]:
    for limit in limits:
        match limit:
            case annotated_types.Ge(ge=bound):
                yield f"at least {bound}"
            case annotated_types.Gt(gt=bound):
                yield f"above {bound}"
            case annotated_types.Le(le=bound) if bound != LARGEST:
                yield f"at most {bound}"
            case annotated_types.Lt(lt=bound):
                yield f"below {bound}"
