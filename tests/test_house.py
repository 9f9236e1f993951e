"""The house itself: what the bundle holds, what README promises, what nothing may do."""

from __future__ import annotations

import ast
import io
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("app", "clients", "fedbouquet", "models", "strategies")
MAY_IMPORT = {
    "app": {"app", "strategies", "clients", "models"},
    "strategies": {"strategies", "models"},
    "clients": {"clients", "models"},
    "models": {"models"},
    "fedbouquet": {"app", "strategies", "clients", "models", "fedbouquet"},
}
FLOWER = ("app/", "fedbouquet/testing/", "models/records.py", "models/messages.py", "strategies/")


def sources() -> list[Path]:
    return [file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py"))]


def test_the_bundle_holds_all_of_ours_and_nothing_else() -> None:
    from flwr.cli.build import build_fab_from_disk

    with zipfile.ZipFile(io.BytesIO(build_fab_from_disk(ROOT))) as bundle:
        members = {name for name in bundle.namelist() if not name.startswith(".info/")}
        size = sum(info.file_size for info in bundle.infolist())
    ours = {str(file.relative_to(ROOT)) for file in sources()}
    presets = {str(file.relative_to(ROOT)) for file in (ROOT / "conf").rglob("*.toml")}
    data = {str(file.relative_to(ROOT)) for file in (ROOT / "clients").rglob("*.jsonl")}
    assert members == ours | presets | data | {"pyproject.toml", "README.md", "LICENSE"}
    assert size < 2_500_000


def imports(file: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: imports are absolute"
            found.add(node.module or "")
    return found


@pytest.mark.parametrize("file", sources(), ids=lambda f: str(f.relative_to(ROOT)))
def test_imports_go_one_way(file: Path) -> None:
    name = str(file.relative_to(ROOT))
    package = name.split("/")[0]
    for module in imports(file):
        top = module.split(".")[0]
        if top in PACKAGES:
            assert top in MAY_IMPORT[package], f"{name} imports {module}"
        if top == "flwr":
            assert name.startswith(FLOWER), f"{name} imports {module}"
        assert top not in {"pickle", "joblib", "shelve", "marshal"}, f"{name} imports {module}"


@pytest.mark.parametrize("package", ["strategies/aggregation"])
def test_aggregation_is_pure(package: str) -> None:
    for file in (ROOT / package).glob("*.py"):
        for module in imports(file):
            assert module.split(".")[0] in {
                "__future__",
                "collections",
                "concurrent",
                "dataclasses",
                "functools",
                "typing",
                "math",
                "numpy",
                "scipy",
                "models",
                "strategies",
            }, f"{file.name} imports {module}"


def test_files_and_folders_stay_small() -> None:
    for file in sources():
        assert len(file.read_text().splitlines()) <= 350, file
    for folder in {file.parent for file in sources()}:
        assert len(list(folder.glob("*.py"))) <= 16, folder


def test_the_readme_commands_are_those_that_are_checked() -> None:
    readme = (ROOT / "README.md").read_text()
    commands = re.findall(r"^pip install .*$", readme, flags=re.MULTILINE)
    assert commands[0].startswith("pip install -c constraints.txt -e . && ")
    assert commands[0].endswith("flwr run . --stream")
    assert commands[1] == 'pip install -c constraints.txt -e ".[dev]" && pytest -n auto'


def test_every_dependency_has_a_known_good_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    names = {re.split(r"[\[><=]", line)[0].lower().replace("_", "-") for line in wanted}
    pinned = {
        line.split("==")[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line
    }
    assert names <= pinned
    assert "torch==2.13.0" in (ROOT / "constraints.txt").read_text().splitlines()


def test_hello_imports_nothing_heavy() -> None:
    """A node answers from its cached card without torch, datasets or pandas."""
    script = (
        "import sys, app.client_app\n"
        "heavy = {'torch', 'transformers', 'peft', 'datasets', 'pandas', 'sklearn', 'matplotlib'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "[]"


def test_a_class_of_the_public_face_is_importable_by_name() -> None:
    import fedbouquet

    assert sorted(fedbouquet.__all__) == fedbouquet.__all__
    for name in fedbouquet.__all__:
        assert getattr(fedbouquet, name) is not None
