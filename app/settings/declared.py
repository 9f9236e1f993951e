"""The declared keys as data: for pyproject.toml, for ``bouquet settings`` and for the docs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Literal, cast, get_args, get_origin

import annotated_types
import tomli_w
from pydantic.fields import FieldInfo

from app.settings.settings import LARGEST, FlatValue, Settings, kebab

_KINDS: dict[type, str] = {bool: "true or false", int: "an integer", float: "a number"}


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


def _setting_key(name: str, field: FieldInfo) -> SettingKey:
    default = cast("FlatValue", field.default)
    kind = _KINDS.get(type(default), "a text")
    return SettingKey(name, default, kind, _allowed(kind, field), field.description or "")


def _allowed(kind: str, field: FieldInfo) -> str:
    if get_origin(field.annotation) is Literal:
        return f"one of {', '.join(get_args(field.annotation))}"
    limits = []
    for limit in field.metadata:
        match limit:
            case annotated_types.Ge(ge=bound):
                limits.append(f"at least {bound}")
            case annotated_types.Gt(gt=bound):
                limits.append(f"above {bound}")
            case annotated_types.Le(le=bound) if bound != LARGEST:
                limits.append(f"at most {bound}")
            case annotated_types.Lt(lt=bound):
                limits.append(f"below {bound}")
    return ", ".join([kind if kind != "a number" else "a finite number", *limits])
