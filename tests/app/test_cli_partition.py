"""``bouquet partition`` on real splits of the embedded digits."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from fake_catalogue import FakeCatalogue
from PIL import Image
from typer.testing import CliRunner

from app.cli import main


def partition(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["partition", *words])
    return result.exit_code, result.output


@pytest.fixture(autouse=True)
def _stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "app.registry", SimpleNamespace(registry=FakeCatalogue))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)


def test_the_table_and_the_picture(tmp_path: Path) -> None:
    code, output = partition("personal-rotation", "num-clients=4")
    assert code == 0, output
    rows = [line.split() for line in output.splitlines() if "client-0" in line]
    assert [row[1] for row in rows] == [f"client-000{k}" for k in range(4)]
    for row in rows:
        values = [0 if cell == "·" else int(cell) for cell in row[3::2]]
        train, test, labels = values[0], values[1], values[2:12]
        assert sum(labels) == train + test
    assert [row[-2] for row in rows] == ["0", "1", "2", "3"]
    picture = tmp_path / "digits-dirichlet-labels.png"
    assert f"label distribution: {picture}" in output
    with Image.open(picture) as image:
        assert image.width > 100


def test_the_picture_goes_where_it_is_wanted(tmp_path: Path) -> None:
    config = tmp_path / "mine.toml"
    config.write_text('partition = "iid"\nnum-clients = 3\n')
    out = tmp_path / "there.png"
    code, output = partition("-c", str(config), "--out", str(out))
    assert code == 0, output
    assert out.is_file()
    assert "concept" not in output


def test_texts_have_lengths_and_no_labels(tmp_path: Path) -> None:
    rows = [{"text": "x" * (n + 1)} for n in range(40)]
    (tmp_path / "texts.jsonl").write_text("\n".join(map(json.dumps, rows)))
    given = [f"dataset={tmp_path / 'texts.jsonl'}", "task=causal-lm", "model=tiny-llama"]
    code, output = partition(*given, "partition=length", "partition-args=", "num-clients=3")
    assert code == 0, output
    found = [line.split() for line in output.splitlines() if "client-0" in line]
    medians = [int(row[7]) for row in found]
    assert medians == sorted(medians)
    assert medians[0] < 12 < 24 < medians[2]
    assert "label" not in output
    assert not [*tmp_path.glob("*.png")]


def test_wrong_settings() -> None:
    code, output = partition("partition=dirichle", "partition-args=")
    assert code == 2
    assert "did you mean 'dirichlet'?" in output


def test_data_that_will_not_do(tmp_path: Path) -> None:
    code, output = partition(f"dataset={tmp_path / 'none'}")
    assert code == 3
    assert str(tmp_path / "none") in output.replace("\n", "")
