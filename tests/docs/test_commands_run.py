"""Commands of all pages really run, where they need nothing that is not here."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner
from written import PAGES, blocks, inline_code, simple_commands

from app.cli import main
from app.cli.merging import merge
from app.registry import Registry
from fedbouquet.testing import rounds, run_here

EMBEDDED = {"digits", "breast-cancer", "shakespeare"}


def documented(*names: str) -> list[str]:
    """Return each call of some of bouquet's commands that a page has, once."""
    found = set()
    for text in (page.read_text() for page in PAGES):
        inline = [code for code in inline_code(text) if code.startswith("bouquet ")]
        for script in (*blocks(text, "sh"), *inline):
            for program, *words in simple_commands(script):
                if program == "bouquet" and words[0] in names:
                    found.add(shlex.join(words))
    return sorted(found)


def need_nothing_else(words: list[str]) -> dict[str, object]:
    """Return a scenario whose data and base are embedded; any other is skipped."""
    # The packages of other people's methods have tests of their own.
    if any(word.startswith("-") or word in ("my-method", "fednova") for word in words):
        pytest.skip("needs nodes, or a package")
    config = merge([], words)
    embedded = str(config.get("model", "tiny-vit")).startswith("tiny-")
    if config.get("dataset", "digits") not in EMBEDDED or not embedded:
        pytest.skip("needs data or a base that are not here")
    if "file" in str(config.get("participation-args")) or config.get("strategy") == "fednova":
        pytest.skip("needs a file, or a package")
    return config


@pytest.mark.parametrize("call", documented("methods", "settings"))
def test_lists_are_printed(call: str, registry: Registry) -> None:
    done = CliRunner().invoke(main, shlex.split(call))
    assert done.exit_code == 0, done.output
    assert len(done.output.splitlines()) > 3


@pytest.mark.slow
@pytest.mark.parametrize("call", documented("profile", "partition"))
def test_clients_are_looked_at(call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need_nothing_else(shlex.split(call)[1:])
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, shlex.split(call))
    assert done.exit_code == 0, done.output


@pytest.mark.slow
@pytest.mark.parametrize("call", documented("run"))
def test_runs_run(call: str, tmp_path: Path) -> None:
    """Two rounds of each, server and clients in this process."""
    config = need_nothing_else(shlex.split(call)[1:])
    own = {"num-server-rounds": 2, "out-dir": str(tmp_path), "run-name": "run"}
    assert rounds(run_here({**config, **own}, report=False))[-1]["round"] == 2
