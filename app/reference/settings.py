"""The page of all settings."""

from __future__ import annotations

from app.node_keys import NODE_KEYS
from app.reference.choices import CHOICES
from app.reference.markdown import code, page, plain, table
from app.settings import SettingKey, declared_keys


def settings_page() -> str:
    """Return every setting with its default, what it allows and what it does, as a page."""
    rows = [_row(key) for key in declared_keys().values()]
    return page(
        "# Settings",
        "Every setting of a run. `bouquet run KEY=VALUE`, a [preset](presets.md) or a TOML file of "
        "your own changes it; `bouquet settings` prints this table.",
        table(["setting", "default", "allowed", "what it does"], rows),
        "## What a node says of itself",
        "Keys of `flower-supernode --node-config`; `bouquet doctor --node` checks them.",
        table(
            ["key", "default", "what it does"],
            [[f"`{name}`", key.default, plain(key.help)] for name, key in NODE_KEYS.items()],
        ),
    )


def _row(key: SettingKey) -> list[str]:
    # A row of a table has no heading that could be linked to.
    name = f'<a id="{key.name}"></a>`{key.name}`'
    subject = key.name.removesuffix("-args")
    more = f" See [choices](choices.md#{subject})." if subject in CHOICES else ""
    more = " See [methods](methods.md)." if subject == "strategy" else more
    return [name, code(key.default), plain(key.allowed), f"{plain(key.help)}{more}"]
