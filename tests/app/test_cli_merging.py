"""Presets, files and ``key=value`` words become one configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

import app
from app.cli.merging import differing, find_app_root, merge, preset_names, read_value
from models.errors import ConfigurationError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    conf = tmp_path / "conf"
    conf.mkdir()
    (conf / "one.toml").write_text('seed = 1\nadapter = "head"\n')
    (conf / "two.toml").write_text("seed = 2\nbatch-size = 8\n")
    return tmp_path


def test_later_presets_win(root: Path) -> None:
    assert merge([], ["one", "two"], root) == {"seed": 2, "adapter": "head", "batch-size": 8}
    assert merge([], ["two", "one"], root)["seed"] == 1


def test_settings_win_wherever_they_stand(root: Path) -> None:
    assert merge([], ["seed=9", "one"], root)["seed"] == 9


def test_files_come_before_presets(root: Path) -> None:
    other = root / "other.toml"
    other.write_text("seed = 5\nthreads = 1\n")
    assert merge([other], ["one"], root) == {"seed": 1, "threads": 1, "adapter": "head"}
    assert merge([], ["one", str(other)], root)["seed"] == 5


def test_tables_are_joined_with_dots_as_flower_does(root: Path) -> None:
    (root / "conf" / "nested.toml").write_text("[strategy-args]\nbeta = 0.2\n")
    assert merge([], ["nested"], root) == {"strategy-args.beta": 0.2}


def test_presets_in_folders_are_found_by_their_name(root: Path) -> None:
    folder = root / "conf" / "family"
    folder.mkdir()
    (folder / "three.toml").write_text("seed = 3\n")
    assert preset_names(root) == ["one", "three", "two"]
    assert merge([], ["one", "three"], root) == {"seed": 3, "adapter": "head"}
    with pytest.raises(ConfigurationError, match="no such file"):
        merge([], ["other/three"], root)


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("seed", "7", 7),
        ("learning-rate", "1e-3", 0.001),
        ("resume", "true", True),
        ("num-clients", "many", "many"),
        ("optimizer", "sgd", "sgd"),
        ("optimizer", '"sgd"', "sgd"),
        ("label-column", "7", "7"),
        ("ship-model", "true", "true"),
        ("strategy", "fedopt > fedavg", "fedopt > fedavg"),
        ("strategy-args", "beta=0.2", "beta=0.2"),
        ("strategy-args", 'optimizer="adam"', 'optimizer="adam"'),
        ("public-data", "5%", "5%"),
        ("unknown", "3", 3),
        ("labels", "", ""),
    ],
)
def test_values(key: str, text: str, value: object) -> None:
    read = read_value(key, text)
    assert read == value
    assert type(read) is type(value)


def test_every_bad_preset_is_named(root: Path) -> None:
    (root / "conf" / "bad.toml").write_text("seed = \n")
    with pytest.raises(ConfigurationError) as caught:
        merge([root / "missing.toml"], ["on", "bad", "one"], root)
    missing, unknown, bad = caught.value.errors
    assert missing == f"no such file: {root / 'missing.toml'}"
    assert unknown.startswith("no preset 'on'; did you mean 'one'? known: one, bad, two")
    assert bad.startswith(f"{root / 'conf' / 'bad.toml'} is not TOML:")


def test_only_what_differs_is_sent() -> None:
    assert differing({"seed": 42, "batch-size": 8, "dataset": "digits"}) == {"batch-size": 8}


def test_the_app_root_holds_the_presets() -> None:
    assert find_app_root() == Path(__file__).parents[2]
    assert "digits" in preset_names(find_app_root())


def test_an_installed_package_has_no_app_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "__file__", str(tmp_path / "app" / "__init__.py"))
    with pytest.raises(ConfigurationError, match=r"no pyproject\.toml in .*pip install -e"):
        find_app_root()
