"""Every link of a page leads somewhere, and every path that is named is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from written import PAGES, ROOT, anchors, inline_code, links, name_of

_PLACES = "app|benchmarks|clients|conf|docs|examples|fedbouquet|models|strategies|tests"
_PATH = re.compile(rf"(?:{_PLACES})/[\w./-]*\w/?")


def dead_links(page: Path, text: str) -> list[str]:
    return [target for target in links(text) if not leads_somewhere(page, text, target)]


def leads_somewhere(page: Path, text: str, target: str) -> bool:
    path, _, anchor = target.partition("#")
    meant = (page.parent / path).resolve() if path else page
    if not meant.exists() or not meant.is_relative_to(ROOT):
        return False
    return not anchor or anchor in anchors(meant.read_text() if path else text)


def missing_paths(text: str) -> list[str]:
    named = {code for code in inline_code(text) if _PATH.fullmatch(code)}
    return sorted(path for path in named if not (ROOT / path).exists())


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    assert dead_links(page, page.read_text()) == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_paths_that_are_named_are_there(page: Path) -> None:
    assert missing_paths(page.read_text()) == []


def test_presets_name_pages_that_are_there() -> None:
    for preset in (ROOT / "conf").rglob("*.toml"):
        for path in re.findall(r"docs/[\w-]+\.md", preset.read_text()):
            assert (ROOT / path).exists(), f"{preset} names {path}"


def test_a_dead_link_is_found() -> None:
    page = ROOT / "docs" / "data.md"
    text = (
        "# Here\n[a](gone.md) [b](models.md#gone) [c](#gone) [d](#here) [e](models.md#tables)\n"
        "[f](../..) [g](https://flower.ai)\n`conf/gone.toml`\n"
    )
    assert dead_links(page, text) == ["gone.md", "models.md#gone", "#gone", "../.."]
    assert missing_paths(text) == ["conf/gone.toml"]
