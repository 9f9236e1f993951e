"""Whole runs in which texts are continued."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from local_runs import Config, rounds, run

pytestmark = pytest.mark.usefixtures("no_pictures")

LINES = {
    "ham": ["to be or not to be", "the rest is silence", "words words words", "a hit a hit"],
    "mac": ["out out brief candle", "is this a dagger", "fair is foul", "blow wind come wrack"],
    "lea": ["nothing will come of nothing", "howl howl howl", "never never", "blow winds blow"],
}


@pytest.fixture
def speeches(tmp_path: Path) -> Path:
    """Twelve speeches of three speakers, as JSON lines."""
    file = tmp_path / "train.jsonl"
    rows = [
        {"who": who, "text": text, "mood": "dark" if number % 2 else "light"}
        for who, texts in LINES.items()
        for number, text in enumerate(texts)
    ]
    file.write_text("\n".join(json.dumps(row) for row in rows))
    return file


@pytest.fixture
def base(tmp_path: Path, llama_folder: Path, speeches: Path) -> Config:
    return {
        "task": "causal-lm",
        "dataset": str(speeches),
        "model": str(llama_folder),
        "model-args": "max-length=64",
        "partition": "natural-id",
        "partition-args": "column='who'",
        "num-server-rounds": 2,
        "local-steps": 2,
        "batch-size": 2,
        "learning-rate": 0.01,
        "out-dir": str(tmp_path / "runs"),
        "run-name": "whole",
        "state-dir": str(tmp_path / "state"),
        "node-wait-timeout": 5.0,
    }


def test_perplexity_falls(base: Config) -> None:
    folder = run(base | {"num-server-rounds": 3})
    found = rounds(folder)
    assert [line["rejected"] for line in found] == [[]] * 4
    assert found[3]["perplexity"] < found[0]["perplexity"]
    assert found[3]["perplexity"] == pytest.approx(math.exp(found[3]["loss"]))
    assert found[3]["client_perplexity_mean"] < found[0]["client_perplexity_mean"]
    assert 0 <= found[3]["accuracy"] <= 1
    assert found[3]["macro_f1"] is None
