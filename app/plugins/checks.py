"""What is wrong with a method that a package brings, in words for its author."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping

from pydantic import BaseModel

from app.plugins.method import Method
from clients.objectives import Objective
from clients.trainers import Trainer
from models.adapters import option_errors
from strategies.base import Options, Strategy, Wrapper

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
NAME_FORM = "lower-case letters, digits and single hyphens, beginning with a letter"
"""How the name of a method, an objective or a trainer is made."""


def form_error(found: object) -> str:
    """Say why what an entry point gave cannot be a method; empty if it can."""
    if not isinstance(found, Method):
        return f"gives {_kind(found)}, not a Method"
    if not is_name(found.name):
        return f"its name {found.name!r} is not of {NAME_FORM}"
    if found.strategy is None and not found.objectives and not found.trainers:
        return "has no half: neither a strategy nor an objective nor a trainer"
    errors = [*_texts(found), *_server_half(found.strategy)]
    errors += _classes("objectives", found.objectives, Objective)
    errors += _classes("trainers", found.trainers, Trainer)
    return "; ".join(errors or _preset(found.preset))


def missing_half(
    method: Method, objectives: Mapping[str, object], trainers: Mapping[str, object]
) -> str:
    """Say which client half that a method names is nowhere; empty if all are there.

    Parameters
    ----------
    method : Method
    objectives, trainers : mapping by name
        All that are known.
    """
    for word, name, known in (
        ("objective", method.objective, objectives),
        ("trainer", method.trainer, trainers),
    ):
        if name and name not in known:
            return (
                f"its client half is missing: it names the {word} '{name}', which neither it nor "
                f"anybody else brings; put it into '{word}s'"
            )
    return ""


def _texts(method: Method) -> list[str]:
    texts = {"paper": method.paper, "objective": method.objective, "trainer": method.trainer}
    return [
        f"{name} is {_kind(text)}, not a text"
        for name, text in texts.items()
        if not isinstance(text, str)
    ]


def is_name(name: object) -> bool:
    """Tell whether something has `NAME_FORM`."""
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


def _server_half(half: object) -> list[str]:
    if half is None:
        return []
    if not isinstance(half, type) or not issubclass(half, Strategy):
        return [f"its server half is {_kind(half)}, not a subclass of Strategy"]
    errors = [*_about(half, half.about), *_about(half, half.travels, "travels")]
    inner: object = half.default_inner if issubclass(half, Wrapper) else None
    if inner is not None and not (isinstance(inner, type) and issubclass(inner, Strategy)):
        told = f"{half.__name__}.default_inner is {_kind(inner)}"
        errors.append(f"{told}, not a subclass of Strategy")
    return errors + (_options(half, half.Options) or _constructor(half))


def _constructor(half: type[Strategy]) -> list[str]:
    """Say why a strategy cannot be made of its options alone."""
    inside = [None] if issubclass(half, Wrapper) else []
    try:
        inspect.signature(half).bind(*inside, **dict.fromkeys(half.Options.model_fields))
    except TypeError as error:
        taken = "inner, **options" if inside else "**options"
        return [f"{half.__name__}.__init__ must take {taken} and hand them on: {error}"]
    return []


def _about(half: type, told: object, name: str = "about") -> list[str]:
    if isinstance(told, str):
        return []
    return [f"{half.__name__}.{name} is {_kind(told)}, not a text of the class (ClassVar[str])"]


def _options(half: type[Strategy], options: object) -> list[str]:
    if not isinstance(options, type) or not issubclass(options, Options):
        return [f"{half.__name__}.Options is {_kind(options)}, not a subclass of Options"]
    for base in half.__mro__:
        needed = vars(base).get("Options", Options)
        if not issubclass(options, needed):
            return [
                f"{half.__name__}.Options must be a subclass of {needed.__name__}, the options of "
                f"{base.__name__}, which it is built on"
            ]
    return _defaults(half.__name__, options)


def _classes(word: str, given: object, base: type[BaseModel]) -> list[str]:
    if not isinstance(given, Mapping):
        return [f"{word} is {_kind(given)}, not a mapping of names to classes"]
    errors = []
    for name, half in given.items():
        if not is_name(name):
            errors.append(f"{word}: {name!r} is not of {NAME_FORM}")
        if not isinstance(half, type) or not issubclass(half, base):
            errors.append(f"{word}: '{name}' is {_kind(half)}, not a subclass of {base.__name__}")
        else:
            errors += _about(half, getattr(half, "about", None)) + _defaults(half.__name__, half)
    return errors


def _defaults(owner: str, options: type[BaseModel]) -> list[str]:
    """Say which options have no default, or one that could not be written in the settings."""
    errors, defaults = [], {}
    for field, option in options.model_fields.items():
        name = option.alias or field.replace("_", "-")
        default = option.get_default(call_default_factory=True)
        if option.is_required():
            errors.append(f"option '{name}' of {owner} has no default")
        elif default is not None and not isinstance(default, str | int | float | bool):
            told = f"the default of option '{name}' of {owner} is {_kind(default)}"
            errors.append(f"{told}, not a text, number or true/false")
        elif default is not None:
            defaults[name] = default
    if errors:
        return errors
    wrong = option_errors(options, defaults)
    return [f"a default of {owner} is not what it allows: {line}" for line in wrong]


def _preset(preset: object) -> list[str]:
    if not isinstance(preset, Mapping):
        return [f"preset is {_kind(preset)}, not a mapping of settings"]
    return [
        f"preset: {key!r} is {_kind(value)}, not a text, number or true/false"
        for key, value in preset.items()
        if not isinstance(value, str | int | float | bool)
    ]


def _kind(found: object) -> str:
    if isinstance(found, type):
        return f"the class {found.__name__}"
    return f"a {type(found).__name__}"
