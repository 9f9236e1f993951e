"""How often a base is loaded, and in which numbers, over whole runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from local_runs import rounds, run, small

import clients.bases
from app import packs
from models.tasks import load_base

pytestmark = pytest.mark.usefixtures("no_pictures")


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    found: list[object] = []

    def counted(*args: object) -> object:
        found.append(args[0])
        return load_base(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(clients.bases, "load_base", counted)
    monkeypatch.setattr(packs, "_plans", {})
    packs._sessions.clear()
    return found


def test_once_on_the_server_and_once_a_worker(
    tmp_path: Path, vit_folder: Path, loads: list[object]
) -> None:
    config = {**small(tmp_path, vit_folder), "num-server-rounds": 2, "local-epochs": 1}
    folder = run(config)
    assert (folder / "adapter" / "adapter_model.safetensors").is_file()
    assert len(loads) == 2


def test_once_for_a_message_of_a_plain_strategy(
    tmp_path: Path, vit_folder: Path, loads: list[object]
) -> None:
    config = {**small(tmp_path, vit_folder), "num-clients": 1}
    node = {"partition-id": 0, "num-partitions": 1}
    session, client = packs.plain_session(node, config)
    assert packs.plain_session(node, config) == (session, client)
    assert session._bases.built(str(vit_folder)).initial.schema == session.plan.parsed_schema
    assert len(loads) == 1


def test_a_run_over_a_base_in_bfloat16(tmp_path: Path, vit_folder: Path) -> None:
    config = {**small(tmp_path, vit_folder), "num-server-rounds": 1, "local-epochs": 1}
    whole = rounds(run(config))
    half = rounds(run({**config, "run-name": "half", "model-args": "dtype='bfloat16'"}))
    assert half[0]["rejected"] == []
    assert half[1]["train_loss"] == pytest.approx(whole[1]["train_loss"], rel=0.02)
    assert half[1]["train_loss"] != whole[1]["train_loss"]
