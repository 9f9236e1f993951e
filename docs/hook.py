"""What mkdocs does not do by itself: the reference from the code, and links as on GitHub.

Pages link to files of the repository, as readers of the repository need it. On the site a link to
a file that is a page here leads to that page; one to any other file is shown as its path.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from pymdownx.slugs import slugify

import fedbouquet
from app.reference import reference_pages

ROOT = Path(__file__).resolve().parents[1]
BESIDE = {
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "examples/federation/README.md": "examples/federation.md",
    "examples/plugin/README.md": "examples/plugin.md",
}
"""Pages that lie elsewhere in the repository, and where they are on the site."""
REPOSITORY_PATH = {page: path for path, page in BESIDE.items()}
_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)\s#]+)(#[^)\s]*)?\)")


def on_config(config: MkDocsConfig) -> None:
    """Give headings the anchors that GitHub gives them."""
    config.mdx_configs["toc"]["slugify"] = slugify(case="lower")


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add the reference, and the pages that lie elsewhere."""
    for name, text in reference_pages(fedbouquet).items():
        files.append(File.generated(config, f"reference/{name}", content=text))
    for path, name in BESIDE.items():
        files.append(File.generated(config, name, abs_src_path=str(ROOT / path)))


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links to files of the repository into links of the site, or into paths."""
    here = page.file.src_uri
    path = REPOSITORY_PATH.get(here, f"docs/{here}")
    if here.startswith("reference/"):
        return markdown
    return _LINK.sub(lambda found: _turned(found, path, here), markdown)


def _turned(found: re.Match[str], path: str, here: str) -> str:
    text, target, anchor = found[1], found[2], found[3] or ""
    if ":" in target:
        return found[0]
    meant = os.path.normpath(Path(path).parent / target)
    meant = f"{meant}/README.md" if (ROOT / meant / "README.md").is_file() else meant
    if meant in BESIDE or meant.startswith("docs/"):
        place = BESIDE.get(meant, meant.removeprefix("docs/"))
        return f"[{text}]({os.path.relpath(place, Path(here).parent)}{anchor})"
    # What does not exist stays, so that mkdocs warns of it.
    return f"{text} (`{meant}`)" if (ROOT / meant).exists() else found[0]
