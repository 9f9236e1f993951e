"""LoRA-Squeeze: ranks that fall during training, and the command that cuts afterwards."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from local_runs import Config, Killed, kill_at, rounds, run, small
from quick_and_slow import one_quick
from rich.console import Console
from safetensors.numpy import load_file

from app.cli.squeeze import read_lora, squeeze_adapter
from models.errors import ModelError
from strategies.aggregation.lora.product import deltas_of, dense

pytestmark = pytest.mark.usefixtures("no_pictures")


@pytest.fixture
def base(tmp_path: Path, vit_folder: Path) -> Config:
    return small(tmp_path, vit_folder) | {
        "strategy": "lora-squeeze > fedopt > fedit",
        "strategy-args": "lora-squeeze.rank=2, fedopt.optimizer='sgd'",
        "num-clients": 3,
        "num-server-rounds": 6,
        "local-steps": 2,
        "evaluate-every": 0,
    }


def test_ranks_fall_by_halves_and_the_export_has_the_last(base: Config) -> None:
    folder = run(base, nodes=1)
    lines = rounds(folder)
    # 8, 4 and 2, two rounds each; the figure is the rank after the round.
    assert [line["method"]["rank"] for line in lines[1:]] == [8, 4, 4, 2, 2, 2]
    sent = [line["bytes_down"] for line in lines[1:]]
    assert sent[0] == sent[1] > sent[2] == sent[3] > sent[4] == sent[5]
    config = json.loads((folder / "adapter" / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"]) == (2, 16)
    shapes = {a.shape for k, a in load_file(folder / "adapter/adapter_model.safetensors").items()}
    assert (2, 16) in shapes
    assert (8, 16) not in shapes


@pytest.mark.parametrize("at", one_quick([4, 2, 6]))
def test_a_run_resumed_beyond_a_cut_ends_in_the_same_bits(base: Config, at: int) -> None:
    whole = run(base, nodes=1)
    broken = {**base, "run-name": "broken"}
    with pytest.raises(Killed):
        run(broken, kill_at(at), nodes=1)
    folder = run({**broken, "resume": True}, nodes=1)
    name = "adapter/adapter_model.safetensors"
    assert (whole / name).read_bytes() == (folder / name).read_bytes()


def test_the_command_cuts_to_the_best_of_a_rank(base: Config) -> None:
    folder = run(base | {"strategy": "fedit", "strategy-args": "", "num-server-rounds": 2}, nodes=1)
    console = Console(file=(folder / "said.txt").open("w"))
    target = squeeze_adapter(folder, 3, None, console)
    assert target == folder / "adapter-rank-3"
    before, _ = read_lora(folder / "adapter")
    after, config = read_lora(target)
    assert config["r"] == 3
    for layer, delta in deltas_of(before).items():
        u, s, vt = np.linalg.svd(dense(delta))
        best = (u[:, :3] * s[:3]) @ vt[:3]
        np.testing.assert_allclose(dense(deltas_of(after)[layer]), best, atol=1e-6)
    from peft import PeftModel
    from transformers import AutoModelForImageClassification

    model = AutoModelForImageClassification.from_pretrained(str(base["model"]))
    PeftModel.from_pretrained(model, target)
    with pytest.raises(ModelError, match="give 1 to 7"):
        squeeze_adapter(folder, 8, None, console)
    with pytest.raises(ModelError, match="no adapter to read"):
        squeeze_adapter(folder / "plots", 2, None, console)
