"""Cards, and the cache that spares a node its data at every hello."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from clients.data import DataSpec, describe_client, load_site, site_card
from models.errors import DataError

Write = Callable[..., Path]
ROOT = Path(__file__).parents[3]
HEAVY = ("torch", "datasets", "flwr_datasets", "pandas", "pyarrow", "sklearn", "PIL", "flwr")


def fresh(code: str, *args: object) -> str:
    """Run code in a fresh process; return what it prints last."""
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, args)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()[-1]


def test_card(write: Write) -> None:
    rows = {"text": list("abcdefgh"), "label": [1, 2, 10, 1] * 2, "sex": ["f", "m"] * 4}
    path = write("rows.csv", rows)
    data = load_site(DataSpec(group_columns=("sex",), test_fraction=0.25), path, "north")
    card = describe_client(data)
    assert card == {
        "client": "north",
        "examples": 6,
        "test_examples": 2,
        "labels": ["1", "2", "10"],
        "label_counts": {"1": 4, "2": 2, "10": 2},
        "groups": {"sex": ["f", "m"]},
        "kind": "text",
        "concept": None,
    }
    assert json.loads(json.dumps(card)) == card


def test_a_second_hello_loads_nothing_heavy(
    write: Write, make_texts: Write, tmp_path: Path
) -> None:
    path, cache = write("rows.csv", make_texts(10, ["a", "b"])), tmp_path / "deep" / "cache"
    card = site_card(DataSpec(), path, "north", cache)
    code = (
        "import json, sys; from clients.data import DataSpec, site_card\n"
        "card = site_card(DataSpec(), sys.argv[1], 'north', sys.argv[2])\n"
        f"print(json.dumps([card, [name for name in {HEAVY} if name in sys.modules]]))"
    )
    assert json.loads(fresh(code, path, cache)) == [card, []]


def test_the_cache_follows_data_spec_and_client(
    write: Write, make_texts: Write, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    path = write("rows.csv", make_texts(10, ["a", "b"]))
    assert site_card(DataSpec(), path, "north", cache)["examples"] == 8
    assert site_card(DataSpec(test_fraction=0.5), path, "north", cache)["examples"] == 5
    assert site_card(DataSpec(), path, "south", cache)["client"] == "south"
    write("rows.csv", make_texts(20, ["a", "b"]))
    assert site_card(DataSpec(), path, "north", cache)["examples"] == 16
    assert len(list(cache.glob("card-*.json"))) == 4
    assert not list(cache.glob(".card-*"))


def test_a_damaged_card_is_made_anew(write: Write, make_texts: Write, tmp_path: Path) -> None:
    path = write("rows.csv", make_texts(10, ["a", "b"]))
    card = site_card(DataSpec(), path, "north", tmp_path / "cache")
    (file,) = (tmp_path / "cache").iterdir()
    for damage in ("", "[]", '{"client": "south"}', "\x00\xff"):
        file.write_text(damage)
        assert site_card(DataSpec(), path, "north", tmp_path / "cache") == card
        assert json.loads(file.read_text()) == card


def test_a_cache_that_cannot_be_written_is_reported(
    write: Write, make_texts: Write, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write("rows.csv", make_texts(10, ["a", "b"]))
    (tmp_path / "file").touch()
    card = site_card(DataSpec(), path, "north", tmp_path / "file")
    assert card["examples"] == 8
    assert "cannot keep the card of client 'north'" in caplog.text


def test_data_that_is_gone_is_no_cached_card(
    write: Write, make_texts: Write, tmp_path: Path
) -> None:
    path = write("rows.csv", make_texts(10, ["a", "b"]))
    site_card(DataSpec(), path, "north", tmp_path / "cache")
    path.unlink()
    with pytest.raises(DataError, match=r"client 'north': data-path = .* does not exist"):
        site_card(DataSpec(), path, "north", tmp_path / "cache")
