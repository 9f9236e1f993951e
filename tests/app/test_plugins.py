"""Methods of installed packages: what a good one brings, and what becomes of each broken kind."""

from __future__ import annotations

import importlib.metadata
import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest
from broken_plugins import BROKEN, START
from rich.console import Console

from app.built_in import BUILT_IN
from app.cli.merging import merge
from app.cli.methods import methods_as_json, show_methods
from app.plugins.checks import form_error
from app.registry import Registry
from app.settings import parse_run_config
from clients.objectives import OBJECTIVES
from clients.trainers import TRAINERS
from fedbouquet.testing import rounds, run_here, small
from models.errors import ConfigurationError, DataError
from strategies.transport.greeting import Greeting, read_greeting

GOOD = """
from typing import Annotated

from pydantic import Field

from fedbouquet import CrossEntropy, FedAvg, FedAvgOptions, Method, Trainer


class NovaOptions(FedAvgOptions):
    rho: Annotated[float, Field(ge=0, lt=1, description="momentum")] = 0.0


class Nova(FedAvg):
    Options = NovaOptions


class Loss(CrossEntropy):
    pass


METHOD = Method(
    "nova",
    Nova,
    "paper",
    "nova-loss",
    {"nova-loss": Loss},
    {"nova": Trainer},
    "nova",
    {"optimizer": "sgd"},
)
"""
CLIENTS_ONLY = """
from fedbouquet import CrossEntropy, Method


class Gentle(CrossEntropy):
    pass


METHOD = Method("gentle", None, "paper", objectives={"gentle": Gentle})
"""


class Packages:
    """Makes modules that can be imported, and the entry points of the packages around them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.points: list[importlib.metadata.EntryPoint] = []

    def add(self, method: str, source: str, package: str = "") -> None:
        name = package or f"plugin-{method}"
        module = f"plugin_for_test_{name.replace('-', '_')}"
        (self.folder / f"{module}.py").write_text(source)
        info = self.folder / f"{module}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(
            f"[fedbouquet.methods]\n{method} = {module}:METHOD\n"
        )
        self.points += importlib.metadata.Distribution.at(info).entry_points

    def registry(self) -> Registry:
        return Registry(BUILT_IN, self.points)


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Packages]:
    monkeypatch.syspath_prepend(tmp_path)
    yield Packages(tmp_path)
    for name in [m for m in sys.modules if m.startswith("plugin_for_test_")]:
        del sys.modules[name]


def test_a_package_adds_both_halves_and_their_options(packages: Packages) -> None:
    packages.add("nova", GOOD)
    found = packages.registry()
    assert found.broken == []
    assert str(found.package("nova")) == "plugin-nova 1.2"
    assert found.package("fedavg") is None
    chosen = parse_run_config({"strategy": "fedopt > nova", "strategy-args": "nova.rho=0.5"}, found)
    strategy = found.compose(chosen.methods, chosen.method_options)
    assert strategy.inner.options.rho == 0.5  # type: ignore[attr-defined]
    assert found.objective_of(chosen.methods) == "nova-loss"
    assert found.packages_for(("fedopt", "nova")) == {"plugin-nova": "1.2"}
    assert found.packages_for(("fedopt", "fedavg")) == {}
    with pytest.raises(ConfigurationError, match=r"rho = 1\.5"):
        parse_run_config({"strategy": "nova", "strategy-args": "rho=1.5"}, found)


def test_a_package_with_a_client_half_alone(packages: Packages) -> None:
    packages.add("gentle", CLIENTS_ONLY)
    found = packages.registry()
    assert parse_run_config({"objective": "gentle"}, found).objective == "gentle"
    assert found.packages_for(("fedavg",), "gentle") == {"plugin-gentle": "1.2"}
    with pytest.raises(ConfigurationError, match=r"no server half; use objective='gentle'"):
        parse_run_config({"strategy": "gentle"}, found)


def test_halves_may_come_in_two_packages_and_every_node_needs_both(packages: Packages) -> None:
    packages.add("server", START + "METHOD = Method('server', FedAvg, '', trainer='slow')")
    packages.add(
        "client", START + "METHOD = Method('client', None, '', trainers={'slow': Trainer})"
    )
    found = packages.registry()
    assert found.broken == []
    both = {"plugin-client": "1.2", "plugin-server": "1.2"}
    assert found.packages_for(("fedopt", "server")) == both


def test_what_a_package_prints_is_no_part_of_a_list(
    packages: Packages, capsys: pytest.CaptureFixture[str]
) -> None:
    packages.add("nova", "print('hello')" + GOOD)
    assert packages.registry().broken == []
    assert capsys.readouterr() == ("", "hello\n")


def test_built_in_methods_keep_to_the_form() -> None:
    assert {m.name: said for m in BUILT_IN if (said := form_error(m))} == {}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_named_and_the_rest_works(packages: Packages, name: str) -> None:
    source, reason = BROKEN[name]
    packages.add("nova", GOOD)
    packages.add(name, source)
    found = packages.registry()
    (broken,) = found.broken
    assert str(broken).startswith(f"method '{name}' of plugin-{name} 1.2 cannot be used: ")
    assert reason in broken.reason
    assert {*found.method_names()} == {m.name for m in BUILT_IN} | {"nova"}
    assert found.objectives.keys() - {"nova-loss"} == Registry().objectives.keys()
    with pytest.raises(ConfigurationError) as error:
        parse_run_config({"strategy": name}, found)
    assert reason in str(error.value)


def test_of_two_packages_with_one_name_the_second_is_named_and_left_out(packages: Packages) -> None:
    packages.add("nova", GOOD, "b-package")
    packages.add("nova", GOOD, "a-package")
    found = packages.registry()
    assert str(found.package("nova")) == "a-package 1.2"
    (broken,) = found.broken
    assert broken.package.name == "b-package"
    assert "taken by the package a-package 1.2" in broken.reason


def test_what_is_left_of_a_package_harms_nobody(packages: Packages, tmp_path: Path) -> None:
    """An entry point that cannot be read, and one of a package that no longer says its name."""
    packages.add("nova", GOOD)
    for name, value, metadata in (
        ("spoilt", "no module:METHOD", "Metadata-Version: 2.1\nName: spoilt\nVersion: 2\n"),
        ("gone", "gone.half:METHOD", ""),
    ):
        info = tmp_path / f"{name}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(metadata)
        (info / "entry_points.txt").write_text(f"[fedbouquet.methods]\n{name} = {value}\n")
        packages.points += importlib.metadata.Distribution.at(info).entry_points
    found = packages.registry()
    assert "nova" in found.method_names()
    reasons = {str(broken.package): broken.reason for broken in found.broken}
    assert reasons["spoilt 2"].startswith("its entry point is 'no module:METHOD'")
    assert (
        reasons["gone unknown"] == "it does not load: ModuleNotFoundError: No module named 'gone'"
    )


def greeting(plugins: dict[str, str], broken: dict[str, str]) -> Greeting:
    card = {"client": "a", "examples": 3, "test_examples": 1, "kind": "image"}
    answer = {"clients": [card], "code": "c", "plugins": plugins, "broken-plugins": broken}
    return read_greeting(7, answer)


def test_a_node_that_lacks_the_package_or_has_another_is_refused_by_its_name() -> None:
    wanted = {"plugin-nova": "1.2"}
    assert greeting({"plugin-nova": "1.2", "other": "3"}, {}).lacks(wanted) == ""
    assert greeting({}, {}).lacks({}) == ""
    assert "pip install plugin-nova==1.2" in greeting({"other": "3"}, {}).lacks(wanted)
    assert greeting({"plugin-nova": "1.1"}, {}).lacks(wanted) == (
        "it has plugin-nova 1.1, the server 1.2; install the same there"
    )
    reason = {"plugin-nova": "method 'nova' of plugin-nova 1.2 cannot be used: no torch"}
    assert greeting(wanted, reason).lacks(wanted) == reason["plugin-nova"]


@pytest.fixture
def known_here(packages: Packages, monkeypatch: pytest.MonkeyPatch) -> Iterator[Packages]:
    """A package with a method, installed for server and clients of this process."""
    packages.add("nova", GOOD)
    made = packages.registry()
    for module in (
        "app.registry",
        "app.server.federation",
        "app.server.job",
        "app.server.planning",
        "app.cli.methods",
    ):
        monkeypatch.setattr(f"{module}.registry", lambda: made)
    monkeypatch.setattr("app.plugins.packages.entry_points", lambda: packages.points)
    with patch.dict(OBJECTIVES), patch.dict(TRAINERS):
        yield packages


def test_a_run_of_a_plugin_and_of_nodes_without_it(
    known_here: Packages, tmp_path: Path, vit_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small(tmp_path, vit_folder) | {
        "strategy": "nova",
        "num-server-rounds": 1,
        "local-epochs": 1,
    }
    last = rounds(run_here(config, report=False))[-1]
    assert last["clients_answered"] == 4
    monkeypatch.setattr("app.node.installed", dict)
    with pytest.raises(DataError, match=r"client-0000, client-0001: it lacks .* 'plugin-nova'"):
        run_here({**config, "run-name": "alone", "node-wait-timeout": 0.5}, report=False)


def test_its_name_is_a_preset(known_here: Packages) -> None:
    assert merge([], ["nova", "seed=3"]) == {"strategy": "nova", "optimizer": "sgd", "seed": 3}
    with pytest.raises(ConfigurationError, match=r"did you mean 'nova'\?"):
        merge([], ["novo"])


def test_methods_names_the_package_and_what_is_broken(known_here: Packages) -> None:
    found = json.loads(methods_as_json(["nova"]))
    (card,) = found["methods"]
    assert card["package"] == "plugin-nova 1.2"
    assert card["objectives"] == ["nova-loss"]
    allowed = "a finite number, at least 0, below 1"
    rho = {"name": "rho", "default": 0.0, "allowed": allowed, "help": "momentum"}
    assert rho in card["options"]
    known_here.add("absent", "import no_such_module")
    registry = known_here.registry()
    with patch("app.cli.methods.registry", lambda: registry):
        text = Console(width=200, file=io.StringIO())
        show_methods([], text)
        (broken,) = json.loads(methods_as_json(["fedavg"]))["broken"]
    assert broken["package"] == "plugin-absent 1.2"
    shown = text.file.getvalue()  # type: ignore[attr-defined]
    assert "method 'absent' of plugin-absent 1.2 cannot be used: it does not load" in shown
    assert "nova (plugin-nova 1.2)" in shown
    assert "rho=0.0" in shown
