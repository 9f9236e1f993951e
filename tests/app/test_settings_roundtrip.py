"""Settings as a flat table and back, the declaration in pyproject.toml, and the presets."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import pytest
import tomli_w
from fake_catalogue import FakeCatalogue
from hypothesis import given
from hypothesis import settings as trials
from hypothesis import strategies as st

from app.built_in import BUILT_IN
from app.registry import registry
from app.settings import Settings, config_block, declared_keys, default_config, parse_run_config
from app.settings.secrets import is_secret_name
from models.errors import ConfigurationError

ROOT = Path(__file__).parents[2]
PRESETS = sorted((ROOT / "conf").rglob("*.toml"))

words = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=6)
names = words.filter(lambda word: not is_secret_name(word))
lists = st.lists(words, unique=True, max_size=3).map(tuple)
whole = st.integers(1, 2**63 - 1)
positive = st.floats(min_value=1e-9, max_value=1e9)


class AnyAdapterOption(FakeCatalogue):
    def adapter_option_errors(self, name: str, options: Mapping[str, object]) -> list[str]:
        return []


@st.composite
def any_settings(draw: st.DrawFn) -> Settings:
    clients = draw(st.integers(1, 500))
    asked = draw(st.integers(0, clients))
    return Settings(
        num_clients=clients,
        clients_per_round=asked,
        quorum=draw(st.integers(1, asked or clients)),
        seed=draw(st.integers(0, 2**63 - 1)),
        partition_seed=draw(st.integers(-1, 2**63 - 1)),
        num_server_rounds=draw(whole),
        learning_rate=draw(positive),
        round_timeout=draw(positive),
        test_fraction=draw(st.floats(0.01, 0.99)),
        optimizer=draw(st.sampled_from(["adamw", "adam", "sgd"])),
        ship_model=draw(st.sampled_from(["auto", "on", "off"])),
        resume=draw(st.booleans()),
        run_name="a-run",
        labels=draw(lists),
        group_columns=draw(lists),
        model_args={"max-length": draw(st.integers(1, 512))},
        adapter_args=draw(st.dictionaries(names, words | whole | positive | st.booleans())),
        out_dir=draw(st.sampled_from(["", "/data/runs"])),
        state_dir=draw(st.sampled_from(["", "/data/state"])),
        public_data=draw(st.sampled_from(["10%", "0%", "/data/public"])),
    )


@trials(deadline=None)  # the first example imports what the adapters' options need
@given(any_settings())
def test_flat_settings_read_back_equal(settings: Settings) -> None:
    flat = settings.to_flat()
    written = tomllib.loads(tomli_w.dumps(flat))
    again = parse_run_config(written, AnyAdapterOption())
    assert again == settings
    assert again.to_flat() == flat


def test_flat_settings_hold_every_key_as_a_scalar() -> None:
    flat = Settings().to_flat()
    assert list(flat) == list(declared_keys())
    assert {type(value) for value in flat.values()} == {str, int, float, bool}


def test_pyproject_declares_every_setting_with_its_default() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    declared = project["tool"]["flwr"]["app"].get("config")
    expected = default_config()
    assert declared == expected
    assert {k: type(v) for k, v in declared.items()} == {k: type(v) for k, v in expected.items()}


def test_the_block_for_pyproject() -> None:
    block = tomllib.loads(config_block())
    assert block["tool"]["flwr"]["app"]["config"] == default_config()
    assert block["tool"]["flwr"]["app"]["config"]["partition-seed"] == -1


def test_defaults_are_valid_and_explained() -> None:
    assert parse_run_config(default_config(), FakeCatalogue()) == Settings()
    for key in declared_keys().values():
        assert key.help.endswith(".")
        assert "\n" not in key.help


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_preset(path: Path) -> None:
    preset = tomllib.loads(path.read_text(encoding="utf-8"))
    settings = parse_run_config(preset, registry())
    assert preset.keys() <= settings.to_flat().keys()


def test_presets_are_there() -> None:
    expected = {"digits", "mnist", "ag-news-minilm", "fedprox", "fedopt", "personal-rotation"}
    names = [path.stem for path in PRESETS]
    assert expected | {"fedpeft-bias", "fedpeft-head"} <= set(names)
    assert len(set(names)) == len(names)  # they are found by name, whatever their folder


def test_every_lora_method_has_a_preset_of_its_name() -> None:
    methods = {m.name for m in BUILT_IN if m.strategy.__module__.startswith("strategies.lora.")}
    presets = {path.stem: path for path in (ROOT / "conf" / "lora").glob("*.toml")}
    assert presets.keys() == methods
    for name, path in presets.items():
        settings = parse_run_config(tomllib.loads(path.read_text(encoding="utf-8")), registry())
        assert name in settings.methods


def test_a_run_name_is_made_of_method_data_and_time() -> None:
    now = datetime(2025, 3, 4, 5, 6, 7)
    named = Settings(strategy="fedopt > fedavg", dataset="/data/my set.parquet").named(now)
    assert named.run_name == "fedopt-fedavg-my-set-20250304-050607"
    assert named.run_dir == Path.home() / "bouquet-runs" / named.run_name
    assert parse_run_config(named.to_flat(), FakeCatalogue()) == named
    assert Settings(run_name="mine").named(now).run_name == "mine"


def test_no_run_directory_without_a_name() -> None:
    with pytest.raises(ConfigurationError, match="run-name is not fixed"):
        _ = Settings().run_dir
