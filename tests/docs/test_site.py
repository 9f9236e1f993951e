"""The site: it builds with no network, and its reference names all that there is."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from written import ROOT

import fedbouquet
from app.built_in import BUILT_IN
from app.cli import main
from app.cli.merging import preset_names
from app.node_keys import IN_SIMULATION, NODE_KEYS
from app.reference import reference_pages
from app.reference.choices import CHOICES
from app.registry import Registry
from app.settings import declared_keys
from app.surroundings import Surroundings
from clients.data.drift import DRIFTS
from clients.data.partitions import PARTITIONS
from strategies.rounds.closing.factory import closing_names


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return reference_pages(fedbouquet)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The site, built as strictly as mkdocs can; a page that wants the network fails."""
    pytest.importorskip("material")
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    folder = tmp_path_factory.mktemp("site")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_MKDOCS_2_WARNING", "1")
        patch.setattr(socket, "create_connection", _refuse)
        config = load_config(str(ROOT / "mkdocs.yml"), site_dir=str(folder))
        assert config.strict
        build(config)
        yield folder


def _refuse(*_: object, **__: object) -> None:
    raise AssertionError("the site wants the network")


def sections(page: str) -> dict[str, str]:
    """Return a page's sections by heading."""
    parts = re.split(r"^#{2,3} (.+)$", page, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_every_setting_is_on_the_page(pages: dict[str, str]) -> None:
    rows = re.findall(r'^\| <a id="([\w-]+)"></a>`\1` \| (.*) \|$', pages["settings.md"], re.M)
    assert [name for name, _ in rows] == list(declared_keys())
    told = dict(rows)
    assert told["learning-rate"].startswith("`0.01` | a finite number, above 0 | Learning rate")
    assert "one of constant, cosine" in told["learning-rate-schedule"]


def test_every_key_of_a_node_is_on_the_page_and_where_nodes_are_started(
    pages: dict[str, str],
) -> None:
    """Read anywhere in the code of nodes, too."""
    told = sections(pages["settings.md"])["What a node says of itself"]
    assert re.findall(r"^\| `([\w-]+)` \|", told, re.M) == list(NODE_KEYS)
    deployment = (ROOT / "docs" / "deployment.md").read_text()
    (described,) = re.findall(r"^\| node-config \|.*?\n\n", deployment, re.M | re.S)
    assert re.findall(r"^\| `([\w-]+)` \|", described, re.M) == list(NODE_KEYS)
    code = "".join((ROOT / "app" / name).read_text() for name in ("node.py", "client_app.py"))
    read = set(re.findall(r"node(?:_config)?(?:\.get\(|\[)\"([\w-]+)\"", code))
    assert read - IN_SIMULATION == NODE_KEYS.keys()


def test_every_method_is_on_the_page(pages: dict[str, str]) -> None:
    told = sections(pages["methods.md"])
    assert list(told) == [method.name for method in BUILT_IN]
    for method in BUILT_IN:
        assert method.strategy is not None
        for name, field in method.strategy.Options.model_fields.items():
            assert f"| `{field.alias or name}` | " in told[method.name], (method.name, name)
    assert "https://arxiv.org/abs/2405.04171" in told["fedstale"]
    assert "a finite number, at least 0, at most 1; or auto" in told["fedstale"]
    assert "[`fedstale`](presets.md#fedstale)" in told["fedstale"]


def test_every_choice_is_on_the_page(pages: dict[str, str]) -> None:
    told, known = sections(pages["choices.md"]), Surroundings()
    named = {
        "participation": known.participation_names(),
        "population": known.population_names(),
        "adapter": known.adapter_names(),
        "objective": Registry().objective_names(),
        "closing": closing_names(),
        "partition": PARTITIONS,
        "drift": DRIFTS,
    }
    assert named.keys() < CHOICES.keys() <= declared_keys().keys()
    for setting, names in named.items():
        assert {f"{setting}: {name}" for name in names} <= told.keys()
    assert "concentration" in told["partition: dirichlet"]


def test_every_preset_and_command_is_on_the_page(pages: dict[str, str]) -> None:
    assert sorted(sections(pages["presets.md"])) == preset_names(ROOT)
    told = sections(pages["commands.md"])
    commands = {c.name or getattr(c.callback, "__name__", "") for c in main.registered_commands}
    assert told.keys() == commands
    assert "`--methods A,B,...` | Methods: fedavg" in told["compare"]
    assert "2 configuration" in told["run"]


def test_the_site_builds_and_holds_the_reference(site: Path) -> None:
    settings = (site / "reference" / "settings.html").read_text()
    assert all(f'id="{key}"' in settings for key in declared_keys())
    methods = (site / "reference" / "methods.html").read_text()
    assert all(f'<h2 id="{method.name}"' in methods for method in BUILT_IN)
    for page in (ROOT / "docs").glob("*.md"):
        assert (site / f"{page.stem}.html").exists(), page


def test_links_to_the_repository_lead_to_pages_or_are_paths(site: Path) -> None:
    deployment = (site / "deployment.html").read_text()
    assert 'href="examples/federation.html"' in deployment
    assert "(<code>examples/federation/systemd</code>)" in deployment
    contributing = (site / "contributing.html").read_text()
    assert 'href="authoring.html"' in contributing
    assert not (site / "hook.py").exists()


def test_pages_take_nothing_from_elsewhere(site: Path) -> None:
    taken = re.compile(r"<(?:script|img|link|iframe)[^>]*?(?:src|href)=\"?(https?:[^\" >]*)")
    assert taken.findall('<link rel="stylesheet" href="https://fonts.example/f.css">')
    for page in site.rglob("*.html"):
        assert taken.findall(page.read_text()) == [], page
