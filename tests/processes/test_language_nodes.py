"""Two SuperNodes that each hold chats of their own and tune a small language model together."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from flower_host import FlowerHost, Nodes, wait_until
from hospitals import metrics_of
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer


def _chats(folder: Path, word: str) -> None:
    folder.mkdir(parents=True)
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"say {word} {number}"},
                {"role": "assistant", "content": f"{word} {number}"},
            ]
        }
        for number in range(12)
    ]
    (folder / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))


@pytest.mark.slow
def test_a_round_of_a_language_model_over_real_nodes(
    host: FlowerHost, llama_folder: Path, tmp_path: Path
) -> None:
    names = {"clinic-a": "yes", "clinic-b": "no"}
    nodes = Nodes(host)
    for name, word in names.items():
        _chats(tmp_path / name, word)
        state = tmp_path / f"state-{name}"
        nodes.add(name, f'client-id="{name}" data-path="{tmp_path / name}" state-dir="{state}"')
    host.connection("chats", address=nodes.address, insecure=True)
    for name in names:
        wait_until(lambda name=name: "SuperNode ID" in host.log(name), 60.0, name)
    settings = {
        "task": "causal-lm",
        "task-args": "loss-on='all', samples=0",
        "partition": "iid",
        "model": str(llama_folder),
        "model-args": "max-length=64, dtype='bfloat16'",
        "num-server-rounds": 1,
        "local-steps": 2,
        "batch-size": 4,
        "gradient-accumulation": 2,
        "gradient-checkpointing": True,
        "quorum": 2,
        "threads": 1,
        "out-dir": str(tmp_path),
        "run-name": "chats",
    }
    done = host.flwr_run(settings, on="chats")
    run = tmp_path / "chats"
    assert json.loads((run / "status.json").read_text())["state"] == "finished", done.stdout
    first, last = metrics_of(run)
    assert (first["rejected"], last["rejected"]) == ([], [])
    assert last["clients_answered"] == 2
    assert 0 < last["client_perplexity_mean"] < first["client_perplexity_mean"]
    base = AutoModelForCausalLM.from_pretrained(llama_folder)
    tuned = PeftModel.from_pretrained(base, run / "adapter").eval()
    tokens = AutoTokenizer.from_pretrained(run / "adapter")("say yes", return_tensors="pt")
    assert tuned(**tokens).logits.isfinite().all()
