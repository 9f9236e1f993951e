"""Methods as ``--methods`` names them."""

from __future__ import annotations

import pytest

from app.compare.contestants import parse_contestants
from app.registry import registry
from app.settings import parse_run_config
from models.errors import ConfigurationError


def test_methods_compositions_options_and_presets_are_read() -> None:
    found = parse_contestants("fedavg, ifca(clusters=4, start='random') > fedit, preset:fairlora")
    assert [one.name for one in found] == [
        "fedavg",
        "ifca(clusters=4, start='random') > fedit",
        "preset:fairlora",
    ]
    assert found[1].settings == {
        "strategy": "ifca > fedit",
        "strategy-args": "ifca.clusters=4, ifca.start='random'",
    }
    assert found[2].preset == "fairlora"
    assert not found[2].settings
    assert found[1].slug == "ifca-clusters-4-start-random-fedit"


def test_options_reach_their_methods() -> None:
    (one,) = parse_contestants("fedopt(optimizer=adam, learning-rate=0.1) > fedstale(beta=0.2)")
    settings = parse_run_config(one.settings, registry())
    assert settings.method_options["fedopt"]["learning-rate"] == 0.1
    assert settings.method_options["fedstale"] == {"beta": 0.2}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "none given"),
        ("fedavg, fedavg", "'fedavg' stands twice"),
        ("fedavg, 4x", "'4x' is no method"),
        ("fedavg, fedopt(", "'fedopt(' is no method"),
    ],
)
def test_what_cannot_be_read_is_named(text: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said.replace("(", r"\(")):
        parse_contestants(text)
