"""B21: what stands in a run's checkpoints folder and is not this run's own."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fake_catalogue import FakeCatalogue

from app.run_directory.checkpoint import FORMAT, Checkpoints
from app.settings import parse_run_config
from models.errors import ConfigurationError, RunDirectoryError
from strategies.base import State
from strategies.rounds.record import Ledger


def places_in(folder: Path, uid: str = "me", schema: str = "s") -> Checkpoints:
    return Checkpoints(folder, uid, keep=3, schema=schema)


def save(places: Checkpoints, server_round: int) -> None:
    state = State({"arrays": np.full(4, server_round, np.float32)}, {})
    places.save(server_round, state, Ledger(), ["{}"])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Rounds 1 and 2."""
    found = tmp_path / "run" / "checkpoints"
    for server_round in (1, 2):
        save(places_in(found), server_round)
    return found


def change(place: Path, edit: Callable[[dict[str, object]], object]) -> None:
    """Edit ``state.json`` and make the sums agree again."""
    file = place / "state.json"
    raw = json.loads(file.read_text())
    edit(raw)
    file.write_text(json.dumps(raw))
    seal(place)


def seal(place: Path) -> None:
    names = ("state.safetensors", "state.json")
    sums = {n: hashlib.sha256((place / n).read_bytes()).hexdigest() for n in names}
    (place / "manifest.json").write_text(json.dumps(sums))


def warned(folder: Path, caplog: pytest.LogCaptureFixture) -> str:
    """Read the newest; it must be round 1, and round 2 be named with a reason."""
    caplog.clear()
    with caplog.at_level(logging.WARNING, logger="flwr"):
        found = places_in(folder).newest()
    assert found is not None
    assert found.round == 1
    (line,) = [record.getMessage() for record in caplog.records]
    assert "round-000002" in line
    return line


@pytest.fixture(autouse=True)
def _logged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger("flwr"), "propagate", True)


def test_another_format_is_named_with_both_numbers(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    change(folder / "round-000002", lambda raw: raw.update(format=FORMAT + 1))
    assert f"format {FORMAT + 1}, this version reads {FORMAT}" in warned(folder, caplog)


def test_another_runs_checkpoint_is_named_with_both_ids(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save(places_in(tmp_path / "other", uid="somebody"), 2)
    shutil.rmtree(folder / "round-000002")
    shutil.copytree(tmp_path / "other" / "round-000002", folder / "round-000002")
    assert "belongs to another run (somebody, not me)" in warned(folder, caplog)


def test_a_copy_under_another_round_is_not_that_round(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.rmtree(folder / "round-000002")
    shutil.copytree(folder / "round-000001", folder / "round-000002")
    assert "it says that it is of round 1" in warned(folder, caplog)


@pytest.mark.parametrize(
    "edit",
    [
        lambda raw: raw.clear(),
        lambda raw: raw.update(clients={"c": {"unknown": 1}}),
        lambda raw: raw.update(history=7),
        lambda raw: raw.update(round="2"),
    ],
)
def test_values_of_any_other_form_are_passed_over(
    folder: Path, caplog: pytest.LogCaptureFixture, edit: Callable[[dict[str, object]], object]
) -> None:
    change(folder / "round-000002", edit)
    assert "is not used: " in warned(folder, caplog)


@pytest.mark.parametrize("data", [b"", b"\x80\x04.", b"\xff" * 64, b"\x08" + b"\0" * 7 + b"{}"])
def test_arrays_that_are_no_safetensors_are_passed_over(
    folder: Path, caplog: pytest.LogCaptureFixture, data: bytes
) -> None:
    (folder / "round-000002" / "state.safetensors").write_bytes(data)
    seal(folder / "round-000002")
    assert "is not used: " in warned(folder, caplog)


def test_a_manifest_of_other_files_is_named(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    place = folder / "round-000002"
    (place / "state.safetensors").rename(place / "state.pt")
    (place / "manifest.json").write_text(json.dumps({"state.pt": "0", "state.json": "0"}))
    said = warned(folder, caplog)
    assert "it holds state.pt, state.json; format 1 holds state.safetensors, state.json" in said


@pytest.mark.parametrize("name", ["manifest.json", "state.json", "state.safetensors"])
def test_a_linked_file_is_not_followed(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    file = folder / "round-000002" / name
    shutil.move(file, tmp_path / name)
    file.symlink_to(tmp_path / name)
    assert f"'{name}' is a symbolic link" in warned(folder, caplog)


def test_a_linked_round_is_not_followed(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.move(folder / "round-000002", tmp_path / "elsewhere")
    (folder / "round-000002").symlink_to(tmp_path / "elsewhere")
    assert "it is a symbolic link" in warned(folder, caplog)


def test_a_linked_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    shutil.move(folder, tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    for action in (lambda: places_in(folder).newest(), lambda: save(places_in(folder), 3)):
        with pytest.raises(RunDirectoryError, match=r"'.*/checkpoints' is a symbolic link"):
            action()
    assert not (tmp_path / "elsewhere" / "round-000003").exists()


@pytest.mark.parametrize("name", ["model.pt", "round-000009.pt", "round-9", "round-000009"])
def test_what_is_no_checkpoint_is_named_and_not_opened(
    folder: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    (folder / name).write_bytes(b"\x80\x04.")
    with caplog.at_level(logging.WARNING, logger="flwr"):
        found = places_in(folder).newest()
    assert found is not None
    assert found.round == 2
    (line,) = [record.getMessage() for record in caplog.records]
    assert f"/checkpoints/{name}' is not used: it is no checkpoint: these are folders" in line
    assert "state.safetensors, state.json" in line
    assert (folder / name).read_bytes() == b"\x80\x04."
    save(places_in(folder), 3)
    assert (folder / name).exists()


def test_another_model_ends_the_run(folder: Path) -> None:
    with pytest.raises(RunDirectoryError, match=r"another schema \(s\) than this run's \(t\)"):
        places_in(folder, schema="t").newest()


@pytest.mark.parametrize(
    "name", ["../../x", "/tmp/x", "a/b", "..", ".", ".hidden", "a\\b", "a\0b", "x" * 101, "a\n"]
)
def test_a_run_name_does_not_lead_elsewhere(name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"run-name = .*must be at most 100 letters"):
        parse_run_config({"run-name": name}, FakeCatalogue())
