"""Every command that is written could run: it parses, and its presets, settings and files exist."""

from __future__ import annotations

import ast
import importlib
import re
import textwrap
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from spoken import Checker, WrongError
from written import PAGES, ROOT, blocks, inline_code, name_of, simple_commands

from app.registry import Registry
from app.settings import parse_run_config
from models.errors import BouquetError

_PROGRAM = re.compile(r"(bouquet|flwr run|pip|pytest|python) ")
OURS = {"app", "clients", "fedbouquet", "models", "strategies"}
EVERY_PAGE = pytest.mark.parametrize("page", PAGES, ids=name_of)


def errors(checker: Checker, commands: Iterator[list[str]], page: Path) -> list[str]:
    found = []
    for words in commands:
        try:
            checker.check(words, page)
        except (WrongError, BouquetError) as error:
            found.append(f"{' '.join(words)}: {error}")
    return found


@EVERY_PAGE
def test_commands_could_run(page: Path, registry: Registry) -> None:
    script = "\n".join(blocks(page.read_text(), "sh"))
    assert errors(Checker(registry), simple_commands(script), page) == []


@EVERY_PAGE
def test_commands_in_a_sentence_could_run(page: Path, registry: Registry) -> None:
    codes = [code for code in inline_code(page.read_text()) if _PROGRAM.match(code)]
    commands = [words for code in codes for words in simple_commands(code)]
    # A mere name, such as `bouquet run` or `bouquet run --on`, says nothing of its arguments.
    whole = [words for words in commands if any(w[0] != "-" for w in words[2:])]
    assert errors(Checker(registry), iter(whole), page) == []


def test_commands_in_presets_could_run(registry: Registry) -> None:
    for preset in (ROOT / "conf").rglob("*.toml"):
        told = re.findall(r"bouquet run [^\n]+", preset.read_text())
        commands = (words for line in told for words in simple_commands(line))
        assert errors(Checker(registry), commands, preset) == [], preset


@EVERY_PAGE
def test_settings_in_blocks_are_settings(page: Path, registry: Registry) -> None:
    for block in blocks(page.read_text(), "toml"):
        if re.search(r"^\[", block, re.MULTILINE):
            tomllib.loads(block)
            continue
        for line in block.splitlines():
            parse_run_config(tomllib.loads(line), registry)


@EVERY_PAGE
def test_snippets_compile_and_import_what_there_is(page: Path) -> None:
    for block in blocks(page.read_text(), "python"):
        for node in ast.walk(ast.parse(textwrap.dedent(block))):
            # Others' packages take seconds to import, and are pinned.
            if isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] in OURS:
                module = importlib.import_module(str(node.module))
                assert [a.name for a in node.names if not hasattr(module, a.name)] == []


@pytest.mark.parametrize(
    "command",
    [
        "bouquet runs",
        "bouquet run no-such-preset",
        "bouquet run sead=7",
        "bouquet run strategy=fedavgg",
        "bouquet run num-clients=none",
        "bouquet run --no-such-option 1",
        "bouquet compare digits --methods 'fedavg, fedavgg'",
        "bouquet compare digits --methods preset:no-such-preset",
        "bouquet methods fedavgg",
        "bouquet doctor --node client-id",
        "bouquet profile digits --format yaml",
        "flwr run . --no-such-option",
        "flwr run . -c conf/no-such-preset.toml",
        "flwr run . -c 'sead=7'",
        "flower-superlink --no-such-option",
        "flower-supernode --node-config 'client-id'",
        "flower-superexec",
        "pip install -c none.txt .",
        "pip install '.[no-such-extra]'",
        "pip install ./docs",
        "pytest -m slowly",
        "pytest tests/none",
        "python benchmarks/none.py",
        "python benchmarks/claims/lora.py --no-such-option",
        "python -m no_such_module",
        "cp bouquet-none.service /etc",
        "no-such-program",
        "true && bouquet runs",
    ],
)
def test_a_wrong_command_is_refused(command: str, registry: Registry) -> None:
    assert errors(Checker(registry), simple_commands(command), ROOT / "README.md")
