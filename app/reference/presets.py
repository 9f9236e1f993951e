"""The page of all presets, and presets as the other pages name them."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass

from app.cli.merging import find_app_root
from app.reference.markdown import page
from app.settings import default_config, parse_composition


@dataclass(frozen=True)
class Preset:
    """One preset of conf/.

    Attributes
    ----------
    name : str
        As ``bouquet run`` takes it.
    path : str
        From the repository's root.
    text : str
        The file.
    """

    name: str
    path: str
    text: str

    @property
    def link(self) -> str:
        """Its name as a link from a page beside the presets'."""
        return f"[`{self.name}`](presets.md#{self.name})"

    @property
    def methods(self) -> tuple[str, ...]:
        """The names of its composition; empty where it leaves the method to others."""
        strategy = tomllib.loads(self.text).get("strategy", "")
        return parse_composition(strategy) if strategy else ()


def read_presets() -> list[Preset]:
    """Return the presets of conf/, in the order of their files."""
    root = find_app_root()
    return [
        Preset(file.stem, str(file.relative_to(root)), file.read_text(encoding="utf-8"))
        for file in sorted((root / "conf").rglob("*.toml"))
    ]


def presets_page() -> str:
    """Return every preset as a page."""
    default = default_config()["strategy"]
    parts = [
        "# Presets",
        f"`bouquet run NAME` takes one, and what it does not say is [default](settings.md); its "
        f"method too, `{default}`. They lie in `conf/`.",
    ]
    for preset in read_presets():
        parts += [f"## {preset.name}", f"`{preset.path}`", f"```toml\n{preset.text.strip()}\n```"]
    return page(*parts)
