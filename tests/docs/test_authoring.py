"""What the page for authors shows works as it stands: server halves, client halves, a run."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from written import ROOT, blocks

from app.plugins.checks import form_error
from clients.objectives import OBJECTIVES
from clients.trainers import TRAINERS
from fedbouquet import FedAvg, Instruction, RoundContext, Strategy
from fedbouquet.testing import RULE_CHECKS, RuleCheck, rounds, run_here, small

PRELUDE = """
from __future__ import annotations

from dataclasses import replace
from typing import Annotated, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, PrivateAttr

from fedbouquet import *

"""


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Everything that the page's snippets define, run one after another."""
    snippets = blocks((ROOT / "docs" / "authoring.md").read_text(), "python")
    page = tmp_path_factory.mktemp("page") / "authoring.py"
    page.write_text(PRELUDE + "\n\n".join(snippets))
    return runpy.run_path(str(page), run_name="authoring_page")


@pytest.mark.parametrize("check", RULE_CHECKS.values(), ids=RULE_CHECKS)
@pytest.mark.parametrize("name", ["Heavy", "Summed"])
def test_server_halves_keep_to_the_contract(
    shown: dict[str, Any], name: str, check: RuleCheck, tmp_path: Path
) -> None:
    check(shown[name], tmp_path)


def test_its_method_is_one(shown: dict[str, Any]) -> None:
    assert form_error(shown["METHOD"]) == ""


@pytest.mark.slow
def test_its_client_halves_train(shown: dict[str, Any], tmp_path: Path, vit_folder: Path) -> None:
    told = {"trainer": "remembering", "objective": "pull"}

    class Both(FedAvg):
        keeps_state = True

        def instruct(self, client: str, context: RoundContext) -> Instruction:
            own = {"trainer": "counting", "trainer.every": 10} if client.endswith("0") else told
            return super().instruct(client, context).also(own)

    def compose(*_: object) -> Strategy:
        return Both()

    halves = {"counting": shown["Counting"], "remembering": shown["Remembering"]}
    config = {**small(tmp_path, vit_folder), "num-server-rounds": 2, "local-steps": 1}
    with (
        patch.dict(TRAINERS, halves),
        patch.dict(OBJECTIVES, {"pull": shown["Pull"]}),
        patch("app.registry.Registry.compose", compose),
    ):
        folder = run_here({**config, "state-dir": str(tmp_path / "state")}, report=False)
    assert [line["clients_answered"] for line in rounds(folder)[1:]] == [4, 4]
    kept = list((tmp_path / "state").rglob("round-*.safetensors"))
    assert len(kept) == 6  # three clients remember, in two rounds
