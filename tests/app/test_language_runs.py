"""Whole runs in which texts are continued."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import pytest
from local_runs import Config, rounds, run

from models.errors import BouquetError

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
    samples = json.loads((folder / "samples.json").read_text())
    assert len(samples) == 2  # of two test texts three are asked
    assert all(sample["prompt"] and sample["reference"] for sample in samples)
    again = run(base | {"num-server-rounds": 3, "run-name": "again"})
    for name in ("samples.json", "adapter/adapter_model.safetensors"):
        assert (folder / name).read_bytes() == (again / name).read_bytes()


METHODS: dict[str, Config] = {
    **{
        method: {"strategy": method}
        for method in ("fedit", "ffa-lora", "rolora", "flora", "fedex-lora", "fedsa-lora")
    },
    "cellm": {"strategy": "cellm", "strategy-args": "density-down=1"},
    "flexlora": {"strategy": "flexlora", "rank-args": "ranks=[2, 8]"},
    "hetlora": {"strategy": "hetlora", "rank-args": "ranks=[2, 8]"},
    "fedstale": {"strategy": "fedstale", "participation": "bernoulli", "participation-args": "p=1"},
    "ifca": {"strategy": "ifca", "strategy-args": "clusters=2"},
    "cfl": {"strategy": "cfl"},
    "adaptive": {"strategy": "adaptive-clusters", "strategy-args": "warm-up-rounds=0"},
    "ditto": {"strategy": "ditto"},
    "fedcac": {"strategy": "fedcac"},
    "local": {"strategy": "local"},
    "prox": {"objective": "fedprox"},
    "tuned": {"personalise-epochs": 1},
    "pooled": {"baselines": "global"},
    "packed": {"task-args": "packing=true"},
    "fairlora": {
        "strategy": "fairlora",
        "adapter": "fairlora",
        "objective": "cross-entropy",
        "group-columns": "mood",
    },
    "ia3": {"adapter": "ia3"},
}


@pytest.mark.parametrize("change", METHODS.values(), ids=METHODS.keys())
def test_methods_work_on_texts_unchanged(base: Config, change: Config) -> None:
    found = rounds(run(base | {"num-server-rounds": 1, "task-args": "samples=1"} | change))
    assert [line["rejected"] for line in found] == [[], []]
    assert found[1]["client_perplexity_mean"] > 1
    assert found[1]["client_loss_mean"] != found[0]["client_loss_mean"]


REFUSED: dict[str, tuple[Config, str]] = {
    **{
        method: ({"strategy": method}, f"'{method}' works on classes")
        for method in ("fedsa", "fedproto", "ccvr", "feddaa", "pfedlora", "fml", "lg-fedavg")
    },
    "fairlora": (
        {"strategy": "fairlora", "adapter": "fairlora", "group-columns": "mood"},
        "'fairness' compares classes; set objective='cross-entropy'",
    ),
    "partition": (
        {"partition": "dirichlet", "partition-args": "alpha=0.3"},
        "has no labels, and 'dirichlet' divides by them; take one of iid",
    ),
    "shift": ({"partition-args": "column='who', shift='rotation'"}, "shift turns images"),
    "drift": ({"drift": "label-cycle", "drift-args": "every=2"}, "'label-cycle' turns images"),
    "head": ({"adapter": "head"}, "would train nothing"),
    "label": ({"label-column": "who"}, "reads none; name it in group-columns"),
    "model": ({"model": "tiny-vit"}, "tiny-vit takes images.*set model='tiny-llama'"),
    "half": ({"prompt-column": "text"}, "set response-column too"),
    "option": ({"task-args": "loss-on='prompts'"}, "loss-on.*'responses' or 'all'"),
    "column": ({"text-column": "txt"}, "no column 'txt'.*did you mean 'text'"),
}


@pytest.mark.parametrize(("change", "says"), REFUSED.values(), ids=REFUSED.keys())
def test_what_needs_labels_is_refused_by_name(base: Config, change: Config, says: str) -> None:
    with pytest.raises(BouquetError) as caught:
        run(base | change)
    assert re.search(says, str(caught.value))


def test_loss_and_accuracy_of_tokens_by_group(base: Config) -> None:
    folder = run(base | {"group-columns": "who", "num-server-rounds": 1})
    last = rounds(folder)[-1]
    groups = last["groups"]["who"]
    assert set(groups["ham"]) == {"accuracy", "examples", "loss"}
    tokens = sum(group["examples"] for group in groups.values())
    lost = sum(group["examples"] * group["loss"] for group in groups.values())
    counts = json.loads((folder / "groups.json").read_text())["clients"]
    assert tokens == sum(c["true"][0] for part in counts.values() for c in part["cells"])
    assert lost / tokens == pytest.approx(last["client_loss_mean"], rel=0.05)
    assert last["fairness"]["who"]["demographic_parity_difference"] is None


def test_a_folder_of_chats_a_client(base: Config, tmp_path: Path) -> None:
    """As a person has them: JSON lines of messages, one folder for each client."""
    for client in ("north", "south"):
        folder = tmp_path / "chats" / client
        folder.mkdir(parents=True)
        rows = [
            {
                "messages": [
                    {"role": "user", "content": f"{number} and one?"},
                    {"role": "assistant", "content": str(number + 1)},
                ]
            }
            for number in range(6)
        ]
        (folder / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    folder = run(
        base
        | {
            "dataset": str(tmp_path / "chats"),
            "partition": "folders",
            "partition-args": "",
            "num-server-rounds": 1,
            "task-args": "prompts=['4 and one?'], sample-tokens=4",
        }
    )
    assert rounds(folder)[1]["rejected"] == []
    (sample,) = json.loads((folder / "samples.json").read_text())
    assert sample["prompt"] == "<s><|user|>\n4 and one?</s>\n<|assistant|>\n"
    bad = tmp_path / "chats" / "south" / "train.jsonl"
    bad.write_text(bad.read_text() + '\n{"messages": [{"role": "user", "content": "hm"}]}')
    config = base | {"dataset": str(tmp_path / "chats"), "partition": "folders"}
    with pytest.raises(BouquetError, match=r"'messages': no message of the role 'assistant'"):
        run(config | {"partition-args": "", "run-name": "bad"})
