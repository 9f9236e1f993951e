"""What an author does: write a package, install it, see it listed, run its tests.

Installed are the generated package and the example plug-in, in an environment of its own over the
dependencies that are here.
"""

from __future__ import annotations

import json
import os
import runpy
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.cli import main
from fedbouquet import FedAvg

ROOT = Path(__file__).parents[2]


class Environment:
    """A virtual environment that sees the packages of this one, and this checkout first."""

    def __init__(self, folder: Path) -> None:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
        self.python = folder / "bin" / "python"
        (packages,) = folder.glob("lib/*/site-packages")
        shared = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
        lines = "".join(f"import site; site.addsitedir({path!r})\n" for path in sorted(shared))
        (packages / "shared.pth").write_text(lines)

    def install(self, *folders: Path) -> None:
        pip = [sys.executable, "-m", "pip", "--python", str(self.python), "install", "-q"]
        offline = ["--no-deps", "--no-build-isolation", "--no-index"]
        subprocess.run([*pip, *offline, *map(str, folders)], check=True)

    def run(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        command: Sequence[str] = [str(self.python), *map(str, words)]
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.run(command, capture_output=True, text=True, env=env, check=False)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The package that is generated, and the example."""
    place = tmp_path_factory.mktemp("packages")
    done = CliRunner().invoke(main, ["new-method", "my-method", "--out", str(place / "mine")])
    assert done.exit_code == 0, done.output
    assert f"pip install -e {place / 'mine'}" in done.output
    shutil.copytree(ROOT / "examples" / "plugin", place / "example")
    return place / "mine", place / "example"


@pytest.fixture(scope="module")
def environment(
    folders: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> Environment:
    made = Environment(tmp_path_factory.mktemp("environment") / "venv")
    made.install(*folders)
    return made


def test_the_package_is_small_and_complete(folders: tuple[Path, Path]) -> None:
    mine, _ = folders
    files = {str(path.relative_to(mine)) for path in mine.rglob("*") if path.is_file()}
    assert files >= {
        "pyproject.toml",
        "bouquet_my_method.py",
        "tests/test_bouquet_my_method.py",
        "README.md",
    }
    text = (mine / "bouquet_my_method.py").read_text()
    assert text.count("---- the idea") == 1
    assert len(text.splitlines()) < 60


def test_both_are_listed_with_their_packages(environment: Environment) -> None:
    script = "from app.cli import main; main()"
    done = environment.run("-c", script, "methods", "--format", "json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["broken"] == []
    packages = {card["name"]: card["package"] for card in found["methods"] if card["package"]}
    assert packages == {
        "my-method": "bouquet-my-method 0.1.0",
        "fednova": "bouquet-fednova 0.1.0",
    }


def test_their_own_tests_pass(environment: Environment, folders: tuple[Path, Path]) -> None:
    tests = [folder / "tests" for folder in folders]
    done = environment.run("-m", "pytest", "-q", "-p", "no:cacheprovider", *tests)
    assert done.returncode == 0, done.stdout[-3000:]
    assert "failed" not in done.stdout


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["My Method"], "'My Method' is no name of a method"),
        (["fedavg"], "the name 'fedavg' is taken by a built-in method"),
        (["a-b", "--out", "."], "is there already; name an empty folder with --out"),
    ],
)
def test_what_cannot_be_written_is_said(words: list[str], reason: str) -> None:
    done = CliRunner().invoke(main, ["new-method", *words])
    assert done.exit_code == 2
    assert reason in done.output


@pytest.mark.parametrize(
    ("name", "kind"),
    [("fed-avg", "FedAvgMethod"), ("method", "MethodMethod"), ("none", "NoneMethod"), ("q", "Q")],
)
def test_the_class_has_a_name_that_nobody_else_has(name: str, kind: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["new-method", name, "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    space = runpy.run_path(str(tmp_path / f"bouquet_{name.replace('-', '_')}.py"), run_name=kind)
    assert space["METHOD"].strategy is space[kind]
    assert issubclass(space[kind], FedAvg)
