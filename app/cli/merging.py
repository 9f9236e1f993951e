"""From presets, files and ``key=value`` words to one flat configuration."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import app
from app.settings import declared_keys
from models.errors import ConfigurationError, nearest

_OVERRIDE = re.compile(r"([A-Za-z][\w.-]*)=(.*)", re.DOTALL)


def find_app_root() -> Path:
    """Return the folder that Flower bundles: the one with pyproject.toml above this package.

    Raises
    ------
    ConfigurationError
        If the package was installed without it.
    """
    root = Path(app.__file__).resolve().parent.parent
    if not (root / "pyproject.toml").is_file():
        raise ConfigurationError(
            f"no pyproject.toml in {root}: Flower bundles the app from its source folder, which "
            "an installed package lacks; clone the repository and install it with "
            "'pip install -e .' there"
        )
    return root


def preset_names(root: Path) -> list[str]:
    """Return the names of the presets in conf/ and its folders, sorted."""
    return sorted(_presets(root))


def merge(
    files: Iterable[str | Path], words: Sequence[str], root: Path | None = None
) -> dict[str, object]:
    """Merge presets and overrides; what stands later wins, and overrides win over presets.

    Parameters
    ----------
    files : iterable of str or Path
        TOML files, before everything else.
    words : sequence of str
        Presets (a name in conf/ or a folder of it, a method of an installed package, or the path
        of a TOML file) and ``key=value`` overrides.
    root : Path, optional
        The app's root; found if not given.

    Returns
    -------
    dict
        Flat run-config, not validated.

    Raises
    ------
    ConfigurationError
        With one line for each preset that does not exist or is not TOML.
    """
    root = root or find_app_root()
    merged: dict[str, object] = {}
    errors: list[str] = []
    overrides: dict[str, object] = {}
    presets: list[str | Path] = list(files)
    for word in words:
        match = _OVERRIDE.fullmatch(word)
        if match is None:
            presets.append(word)
        else:
            overrides[match[1]] = read_value(match[1], match[2])
    for preset in presets:
        try:
            merged.update(_read(preset, root))
        except ConfigurationError as error:
            errors.extend(error.errors)
    if errors:
        raise ConfigurationError(errors)
    return merged | overrides


def read_value(key: str, text: str) -> object:
    """Read the right side of ``key=value``: TOML, or the bare text.

    For a setting that holds a text, ``label-column=7`` means the text ``"7"``.
    """
    try:
        value: object = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
    declared = declared_keys().get(key)
    holds_text = declared is not None and isinstance(declared.default, str)
    return text if holds_text and not isinstance(value, str) else value


def differing(config: Mapping[str, object]) -> dict[str, object]:
    """Return the settings of a run-config that differ from their defaults."""
    keys = declared_keys()
    return {key: value for key, value in config.items() if value != keys[key].default}


def _presets(root: Path) -> dict[str, Path]:
    """Return the presets by name, whatever folder of conf/ they lie in; names are unique."""
    return {path.stem: path for path in (root / "conf").rglob("*.toml")}


def _read(preset: str | Path, root: Path) -> Mapping[str, object]:
    path = Path(preset).expanduser()
    if path.is_file():
        return _load(path)
    named = _presets(root).get(preset) if isinstance(preset, str) else None
    if named is not None:
        return _load(named)
    from app.registry import registry  # loads installed packages: only where no file is meant

    brought = registry().presets().get(str(preset))
    if brought is not None:
        return brought
    if path.suffix or len(path.parts) > 1:
        raise ConfigurationError(f"no such file: {path.absolute()}")
    known = [*preset_names(root), *registry().presets()]
    raise ConfigurationError(
        f"no preset '{preset}'; {nearest(str(preset), known)}; "
        "or the path of a TOML file, or key=value"
    )


def _load(path: Path) -> dict[str, object]:
    try:
        return _flatten(tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is not TOML: {error}") from None


def _flatten(table: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Join nested tables with dots, as Flower does, so that both refuse the same keys."""
    flat: dict[str, object] = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            flat.update(_flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat
