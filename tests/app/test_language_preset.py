"""The preset of a tiny Llama on Shakespeare, with an even smaller model: no network, seconds."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

from local_runs import rounds, run

ROOT = Path(__file__).resolve().parents[2]


def test_perplexity_falls_and_samples_are_in_the_report(tmp_path: Path) -> None:
    preset = tomllib.loads((ROOT / "conf" / "llm" / "shakespeare.toml").read_text())
    fast = {
        "model": "tiny-llama@width=32,depth=1",
        "model-args": "max-length=48",
        "num-server-rounds": 2,
        "clients-per-round": 3,
        "partition-args": "column='speaker', min-size=70",
        "out-dir": str(tmp_path / "runs"),
        "run-name": "shakespeare",
        "state-dir": str(tmp_path / "state"),
        "node-wait-timeout": 5.0,
    }
    folder = run(preset | fast)
    first, *_, last = rounds(folder)
    assert last["perplexity"] < 0.97 * first["perplexity"]
    assert {*last["groups"]["genre"]} <= {"comedy", "history", "tragedy"}
    assert all(group["loss"] > 1 for group in last["groups"]["genre"].values())
    samples = json.loads((folder / "samples.json").read_text())
    assert len(samples) == 3
    page = (folder / "report.html").read_text()
    assert "Samples" in page
    assert "token accuracy" in page
    assert "pipeline_tag: text-generation" in (folder / "adapter" / "README.md").read_text()
    assert (folder / "base" / "chat_template.jinja").is_file()
