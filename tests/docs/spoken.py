"""What a documented command must keep to: it parses, and what it names is there."""

from __future__ import annotations

import argparse
import ast
import importlib
import importlib.util
import re
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path

import click
import typer
from written import ROOT

from app.cli import main
from app.cli.doctor import read_node_config
from app.cli.merging import merge
from app.compare.contestants import parse_contestants
from app.plugins.describing import describe_method
from app.registry import Registry
from app.settings import parse_run_config

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
OTHERS = {"chmod", "head", "mypy", "openssl", "ruff", "ssh-keygen", "useradd"}


class WrongError(Exception):
    """A command that could not run as written."""


class Checker:
    """Checks simple commands.

    Parameters
    ----------
    registry : Registry
        With the methods of packages that pages tell to install.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._checks: dict[str, Callable[[Sequence[str], Path], None]] = {
            "bouquet": self._bouquet,
            "flwr": self._flwr,
            "flower-superlink": self._flower,
            "flower-supernode": self._flower,
            "flower-superexec": self._flower,
            "pip": _pip,
            "pytest": _pytest,
            "python": _python,
            "cp": _units,
            "systemctl": _units,
        }

    def check(self, words: Sequence[str], page: Path) -> None:
        """Refuse a command that could not run as written; a bouquet error says why."""
        program = words[0]
        if program in self._checks:
            self._checks[program](words, page)
        elif program not in OTHERS:
            raise WrongError(f"{program}: not a command that pages may name")

    def _bouquet(self, words: Sequence[str], page: Path) -> None:
        command, told = _parsed(typer.main.get_command(main), words, "bouquet")
        if command in ("run", "compare", "profile", "partition", "doctor"):
            self._scenario(told)
        for text in filter(None, [told.get("methods")] if command == "compare" else []):
            for one in parse_contestants(text):
                preset = [one.preset] if one.preset else []
                words = [*(told["words"] or []), *preset]
                parse_run_config({**merge([], words), **one.settings}, self._registry)
        if command == "doctor" and told["node"]:
            read_node_config(told["node"])
        for name in (told["names"] or []) if command == "methods" else []:
            describe_method(self._registry, name)

    def _scenario(self, told: dict[str, object]) -> None:
        words, files = told["words"] or [], told["config"] or []
        assert isinstance(words, list | tuple)
        assert isinstance(files, list | tuple)
        parse_run_config(merge(files, [*words]), self._registry)

    def _flwr(self, words: Sequence[str], page: Path) -> None:
        from flwr.cli.app import app
        from flwr.cli.config_utils import parse_config_args

        command, told = _parsed(typer.main.get_command(app), words, "flwr")
        if command == "run":
            given = told["run_config_overrides"]
            for one in given or []:
                config = merge([ROOT / one], []) if one.endswith(".toml") else None
                parse_run_config(config or parse_config_args([one]), self._registry)

    def _flower(self, words: Sequence[str], page: Path) -> None:
        told = _flower_parser(words[0]).parse_args(words[1:])
        node = getattr(told, "node_config", None)
        if node and node != "...":
            read_node_config(node)


def _parsed(
    command: click.Command, words: Sequence[str], program: str
) -> tuple[str, dict[str, object]]:
    """Return the innermost command's name, and what it was told."""
    context, rest = click.Context(command, info_name=program), list(words[1:])
    try:
        while isinstance(command, click.Group):
            _, found, rest = command.resolve_command(context, rest)
            assert found is not None
            command = found
        return command.name or "", command.make_context(command.name, rest).params
    except click.exceptions.ClickException as error:
        raise WrongError(error.format_message()) from None


def _flower_parser(program: str) -> argparse.ArgumentParser:
    module, make = {
        "flower-superlink": ("superlink.cli.flower_superlink", "_parse_args_run_superlink"),
        "flower-supernode": ("supernode.cli.flower_supernode", "_parse_args_run_supernode"),
        "flower-superexec": ("supercore.cli.flower_superexec", "_parse_args"),
    }[program]
    # By import_module: the packages hide each module behind a function of its name.
    parser = getattr(importlib.import_module(f"flwr.{module}"), make)()
    assert isinstance(parser, argparse.ArgumentParser)
    parser.error = _refuse  # type: ignore[method-assign]
    return parser


def _refuse(message: str) -> None:
    raise WrongError(message)


def _pip(words: Sequence[str], page: Path) -> None:
    if words[1] != "install":
        raise WrongError(f"pip {words[1]}")
    rest = list(words[2:])
    while rest:
        word = rest.pop(0)
        if word == "-c":
            _exists(ROOT / rest.pop(0))
        elif word != "-e":
            _requirement(word, page)


def _requirement(word: str, page: Path) -> None:
    name, _, extra = word.rstrip("]").partition("[")
    extras = PROJECT["project"]["optional-dependencies"]
    if extra and extra not in extras:
        raise WrongError(f"no extra '{extra}'")
    if name.startswith("."):
        # Written at the repository's root, or beside the page.
        if not any((place / name / "pyproject.toml").is_file() for place in (ROOT, page.parent)):
            raise WrongError(f"no package in {name}")
    elif not re.match(r"(fedbouquet|pytest|my-method|bouquet-[a-z-]+(==[\d.]+)?)$", name):
        raise WrongError(f"{name}: nothing that pages tell to install")


def _pytest(words: Sequence[str], page: Path) -> None:
    rest = list(words[1:])
    while rest:
        word = rest.pop(0)
        if word == "-m":
            told = PROJECT["tool"]["pytest"]["ini_options"]["markers"]
            known = {line.partition(":")[0] for line in told} | {"not", "and", "or"}
            if unknown := set(re.findall(r"\w+", rest.pop(0))) - known:
                raise WrongError(f"no marker {unknown}")
        elif word == "-n":
            rest.pop(0)
        elif word != "my-method":
            _exists(ROOT / word)


def _python(words: Sequence[str], page: Path) -> None:
    first, *rest = words[1:]
    if first == "-c":
        compile(rest[0], "-c", "exec")
    elif first == "-m":
        if importlib.util.find_spec(rest[0]) is None:
            raise WrongError(f"no module {rest[0]}")
    else:
        _exists(ROOT / first)
        tree = ast.parse((ROOT / first).read_text())
        known = {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant)}
        if unknown := {word for word in rest if word.startswith("--")} - known:
            raise WrongError(f"{first} has no option {unknown}")


def _units(words: Sequence[str], page: Path) -> None:
    """Units of systemd are those beside the example; an instance is one of its template."""
    folder = ROOT / "examples" / "federation" / "systemd"
    for word in words[1:]:
        if word.startswith("bouquet-"):
            unit = re.sub(r"@.*", "@", word.removesuffix(".service"))
            _exists(folder / f"{unit}.service")


def _exists(path: Path) -> None:
    if not path.exists():
        raise WrongError(f"no file {path}")
