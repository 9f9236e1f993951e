"""The one configuration boundary: Flower's flat bag of scalars in, frozen settings out."""

from __future__ import annotations

import json
from collections.abc import Mapping

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from app.settings.arguments import split_pieces
from app.settings.catalogue import MethodCatalogue
from app.settings.checks import find_contradictions
from app.settings.declared import SettingKey, declared_keys
from app.settings.secrets import MASK, find_secrets, is_secret_name, sweep
from app.settings.settings import Settings
from models.errors import ConfigurationError, nearest

_LONGEST_SHOWN = 80
_KINDS = {bool: "true or false", int: "an integer", float: "a number", str: "a text"}


def parse_run_config(run_config: Mapping[str, object], registry: MethodCatalogue) -> Settings:
    """Check a run-config and resolve it.

    Parameters
    ----------
    run_config : mapping
        Flat, kebab-case keys to scalars. Keys that are missing take their defaults.
    registry : MethodCatalogue
        Known methods, objectives, adapters and partitions, which check their own options.

    Raises
    ------
    ConfigurationError
        With one line for *every* error: the key, what was given, what is allowed and, for a
        name that is not known, the nearest spelling. Secrets are shown as ``***``.
    """
    keys = declared_keys()
    lines: list[str] = []
    bad: set[str] = set()
    secrets = _secrets_of(run_config)
    try:
        settings = Settings.model_validate(dict(run_config))
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            key = str(detail["loc"][0])
            bad.add(key)
            lines.append(_line(key, detail, keys))
        settings = Settings.model_validate({k: v for k, v in run_config.items() if k not in bad})
    for read, message in find_contradictions(settings, registry):
        if bad.isdisjoint(read):
            key = next((k for k in read if k in run_config), read[0])
            value = run_config.get(key, keys[key].default)
            lines.append(f"{key} = {_shown(key, value)}: {message}")
    if lines:
        raise ConfigurationError([sweep(line, secrets) for line in lines])
    return settings


def _line(key: str, detail: ErrorDetails, keys: Mapping[str, SettingKey]) -> str:
    if detail["type"] == "extra_forbidden":
        hint = nearest(key, keys)
        # With a near spelling, forty other keys would only bury it.
        hint = hint.partition(" known: ")[0] if hint.startswith("did you mean") else hint
        return f"{key} = {_shown(key, detail['input'])}: no such setting; {hint}"
    if detail["type"] == "value_error":
        rule = str(detail["ctx"]["error"])
    else:
        rule = f"must be {keys[key].allowed}"
    kind = _kind(detail["input"])
    fits = kind == keys[key].kind or (kind, keys[key].kind) == ("an integer", "a number")
    note = "" if fits else f" ({kind})"
    return f"{key} = {_shown(key, detail['input'])}{note}: {rule}"


def _kind(value: object) -> str:
    return _KINDS.get(type(value), f"a {type(value).__name__}")


def _shown(key: str, value: object) -> str:
    if is_secret_name(key):
        return MASK
    text = json.dumps(value, ensure_ascii=True, default=str)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


def _secrets_of(run_config: Mapping[str, object]) -> set[str]:
    pieces = {
        key: split_pieces(value) for key, value in run_config.items() if isinstance(value, str)
    }
    found = find_secrets(run_config, pieces)
    return found | {json.dumps(text)[1:-1] for text in found} | {repr(text)[1:-1] for text in found}
