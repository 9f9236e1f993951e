"""Whole runs with groups: figures for every method, from the clients' counts alone."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from fairlearn.metrics import (
    demographic_parity_difference,
    equal_opportunity_difference,
    equalized_odds_difference,
)
from local_runs import Config, Killed, kill_at, rounds, run, small
from peft import PeftModel
from rich.console import Console
from safetensors.numpy import load_file
from transformers import AutoModelForImageClassification

from app.cli.exports.groups import export_group
from clients.data import Examples, load_federation, load_server_test
from clients.data.spec import DataSpec
from clients.grouping import Grouping
from clients.holdings import prepare
from clients.preparation import make_preparation
from models.errors import BouquetError, ConfigurationError, ModelError
from models.fairlora.layer import initial_s
from models.fairlora.tuner import accept_groups
from models.schema import NamedArrays
from strategies.fair.fairlora import Collected, FairLoRA
from strategies.rounds.context import RoundContext

pytestmark = pytest.mark.usefixtures("no_pictures")


@pytest.fixture
def base(tmp_path: Path, vit_folder: Path) -> Config:
    return small(tmp_path, vit_folder) | {
        "num-server-rounds": 2,
        "state-dir": str(tmp_path / "state"),
        "label-column": "parity",
        "group-columns": "ink",
        "local-steps": 3,
        "learning-rate": 0.03,
    }


def test_every_figure_is_in_every_table(base: Config) -> None:
    folder = run(base | {"group-columns": "ink,label"})
    last = rounds(folder)[-1]
    assert set(last["groups"]) == set(last["fairness"]) == {"ink", "label", "ink & label"}
    light = last["groups"]["ink"]["light"]
    assert set(light) == {
        "accuracy", "examples", "positives", "auc", "tpr", "fpr", "selection_rate",
    }  # fmt: skip
    assert all(0 <= light[key] <= 1 for key in ("accuracy", "auc", "tpr", "fpr"))
    ink = last["fairness"]["ink"]
    assert ink["worst_group"] in {"light", "medium", "heavy"}
    assert ink["worst_group_accuracy"] == min(g["accuracy"] for g in last["groups"]["ink"].values())
    assert 0 < ink["es_auc"] <= ink["auc"]
    # A digit is even or odd: by label there is one class in each group.
    assert last["fairness"]["label"]["equalized_odds_difference"] is None
    assert len(last["fairness"]["label"]["undefined"]) == 10
    with (folder / "clients.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert float(rows[0]["worst_group_accuracy/ink"]) <= float(rows[0]["accuracy_after"])
    assert rows[0]["es_auc/label"] == rows[0]["tpr/label=3"] == ""
    own = [float(rows[0][f"accuracy/ink={ink}"]) for ink in ("light", "medium", "heavy")]
    assert float(rows[0]["worst_group_accuracy/ink"]) in own
    counts = json.loads((folder / "groups.json").read_text())
    assert counts["round"] == 2
    examples = sum(
        sum(cell["true"]) for part in counts["clients"].values() for cell in part["cells"]
    )
    assert examples == sum(int(row["test_examples"]) for row in rows)
    assert examples == sum(g["examples"] for g in last["groups"]["ink"].values())


@pytest.mark.parametrize(
    "method",
    [
        {"strategy": "ifca", "strategy-args": "clusters=2"},
        {"strategy": "fedbuff", "clock": "virtual", "closing-args": "size=2"},
        {"strategy": "fedper"},
    ],
    ids=["clusters", "asynchronous", "personal"],
)
def test_every_method_tells_how_it_serves_groups(base: Config, method: Config) -> None:
    last = rounds(run(base | method | {"num-server-rounds": 1}))[-1]
    assert last["rejected"] == []
    ink = last["fairness"]["ink"]
    known = {key for key, value in ink.items() if value is not None}
    assert known >= {"auc", "es_auc", "equalized_odds_difference", "unique_disparity"}
    assert sum(group["examples"] for group in last["groups"]["ink"].values()) == 288


FAIR = {"strategy": "fairlora", "adapter": "fairlora", "adapter-args": "rank=6"}


def weights(folder: Path) -> dict[str, np.ndarray]:
    return load_file(folder / "adapter" / "adapter_model.safetensors")


def base_of(config: Config) -> torch.nn.Module:
    return AutoModelForImageClassification.from_pretrained(
        str(config["model"]), num_labels=2, ignore_mismatched_sizes=True
    )


def logits(folder: Path, config: Config, group: int | list[float] | None) -> torch.Tensor:
    """What PEFT makes of an exported folder, for samples of one group or of a mixture."""
    found = PeftModel.from_pretrained(base_of(config), folder).eval()
    x = torch.randn(5, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    if group is None:
        return found(pixel_values=x).logits.detach()
    accept_groups(found)
    groups = torch.full((5,), group) if isinstance(group, int) else torch.tensor([group] * 5)
    return found(pixel_values=x, groups=groups).logits.detach()


@pytest.fixture
def fair(base: Config) -> Config:
    return base | FAIR


def test_fairlora_trains_and_its_folder_gives_the_stated_accuracy(fair: Config) -> None:
    folder = run(fair)
    last = rounds(folder)[-1]
    assert last["rejected"] == last["remarks"] == []
    config = json.loads((folder / "adapter" / "adapter_config.json").read_text())
    assert config["groups"] == ["heavy", "light", "medium"]
    assert (config["peft_type"], config["group_column"]) == ("FAIRLORA", "ink")
    s = next(value for key, value in weights(folder).items() if key.endswith("_S"))
    first = initial_s(6, 3, "same+cycle").numpy()
    assert (np.abs(s - first).max(axis=1) > 1e-4).all()
    apart = [logits(folder / "adapter", fair, group) for group in (0, 1, 2)]
    assert not torch.allclose(apart[0], apart[1])
    spec = DataSpec(
        label_column="parity", group_columns=("ink",), partition="iid", partition_args=(),
        num_clients=4, partition_seed=42,
    )  # fmt: skip
    test = load_server_test(spec)
    assert test is not None
    targets, said, _ = predicted(test, folder, fair)
    assert float((said == targets).mean()) == pytest.approx(last["accuracy"], abs=1e-6)
    # What clients counted and the server added up is what fairlearn says of all they predict.
    targets, said, group = predicted(load_federation(spec).pooled().test, folder, fair)
    pooled = {"y_true": targets, "y_pred": said, "sensitive_features": group}
    for name, figure in FAIRLEARN.items():
        assert last["fairness"]["ink"][name] == pytest.approx(figure(**pooled), abs=1e-12)


FAIRLEARN: dict[str, Callable[..., float]] = {
    "demographic_parity_difference": demographic_parity_difference,
    "equal_opportunity_difference": equal_opportunity_difference,
    "equalized_odds_difference": equalized_odds_difference,
    "equalized_odds_difference_mean": partial(equalized_odds_difference, agg="mean"),
}


def predicted(
    examples: Examples, folder: Path, config: Config
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return targets, what the run's adapter says in plain PEFT, and groups."""
    prepared = make_preparation(Path(str(config["model"])), "image", {})
    data = prepare(examples, ("even", "odd"), prepared)
    grouped = Grouping("ink", ("heavy", "light", "medium")).add_to(data)
    found = PeftModel.from_pretrained(base_of(config), folder / "adapter").eval()
    accept_groups(found)
    batch = grouped.inputs.batch(np.arange(len(data)), torch.device("cpu"))
    with torch.no_grad():
        said = found(**batch).logits.argmax(-1).numpy()
    return data.targets, said, list(data.groups["ink"])


def test_s_moves_under_a_method_with_a_client_half_of_its_own(
    fair: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[NamedArrays] = []
    conclude = FairLoRA.conclude

    def told(self: FairLoRA, aggregation: Collected, context: RoundContext) -> None:
        conclude(self, aggregation, context)
        found.append(self.arrays)

    monkeypatch.setattr(FairLoRA, "conclude", told)
    run(fair | {"strategy": "fedper > fairlora", "num-server-rounds": 1})
    (last,) = found
    for key in last:
        if key.endswith("_S"):
            moved = np.abs(last[key] - initial_s(6, 3, "same+cycle").numpy()).max(axis=1)
            assert (moved > 1e-4).all()


@pytest.mark.parametrize(
    "options",
    [
        {
            "strategy-args": "mean='product', shared-half-s=true, ema=0.9",
            "objective-args": "lambda-fairness=1.0",
            "participation": "bernoulli",
            "participation-args": "p=0.6",
        },
        {
            "strategy": "local-s",
            "objective": "fedprox",
            "adapter-args": "rank=6, own=1.0, init='lora'",
        },
    ],
)
def test_options_run_and_resume_to_the_bit(fair: Config, options: Config) -> None:
    config = fair | options
    whole = run(config)
    with pytest.raises(Killed):
        run(config | {"run-name": "cut"}, kill_at(3))
    cut = run(config | {"run-name": "cut", "resume": True})
    timeless = [[{k: v for k, v in line.items() if k != "seconds"} for line in rounds(folder)]
                for folder in (whole, cut)]  # fmt: skip
    assert timeless[0] == timeless[1]
    assert (whole / "clients.csv").read_text() == (cut / "clients.csv").read_text()
    if options.get("strategy") != "local-s":
        for key, value in weights(whole).items():
            np.testing.assert_array_equal(value, weights(cut)[key])


def test_the_fairness_term_goes_with_any_adapter(base: Config) -> None:
    folder = run(base | {"objective": "fairness", "objective-args": "lambda-fairness=1.0"})
    assert rounds(folder)[-1]["rejected"] == []


def test_a_cohort_without_a_group_keeps_its_singular_values(fair: Config) -> None:
    folder = run(fair | {"adapter-args": "rank=6, groups=['heavy', 'light', 'medium', 'none']"})
    for key, value in weights(folder).items():
        if key.endswith("_S"):
            expected = initial_s(6, 4, "same+cycle").numpy()
            np.testing.assert_array_equal(value[3], expected[3])
            assert not np.array_equal(value[0], expected[0])


TERM: Config = {"objective": "fairness", "objective-args": "lambda-fairness=1.0"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"group-columns": ""}, "set group-columns to a column"),
        ({"adapter-args": "column='inc'"}, "column = 'inc'"),
        (
            {**TERM, "group-columns": "", "adapter": "lora", "adapter-args": ""},
            "set group-columns to a column",
        ),
        ({**TERM, "objective-args": "column='inc'"}, "did you mean 'ink'"),
        ({"objective-args": "lambda-fairnes=1"}, "objective 'fairness': unknown option"),
        (
            {**TERM, "group-columns": "ink,label", "objective-args": "column='label'"},
            "groups of adapter 'fairlora' are of 'ink'",
        ),
        ({"adapter-args": "rank=5"}, "an even number"),
        ({"adapter": "lora", "adapter-args": ""}, "needs U, S and V of adapter='fairlora'"),
        ({"strategy": "flexlora"}, "has no factors A and B"),
    ],
)
def test_what_cannot_be_is_refused(fair: Config, changes: Config, words: str) -> None:
    with pytest.raises(BouquetError, match=words):
        run(fair | changes)


def test_one_group_or_a_mixture_is_an_ordinary_lora(fair: Config, tmp_path: Path) -> None:
    folder = run(fair)
    said = Console(file=(tmp_path / "said.txt").open("w"))
    light = export_group(folder, ["light"], None, said)
    assert light == folder / "adapter-light"
    config = json.loads((light / "adapter_config.json").read_text())
    assert (config["peft_type"], config["r"], config["lora_alpha"]) == ("LORA", 6, 2)
    close = torch.testing.assert_close
    close(logits(light, fair, None), logits(folder / "adapter", fair, 1), atol=1e-5, rtol=1e-5)
    alike = export_group(folder, [], tmp_path / "alike", said)
    close(logits(alike, fair, None), logits(folder / "adapter", fair, -1), atol=1e-5, rtol=1e-5)
    mixed = export_group(folder, ["heavy=3", "light=1"], tmp_path / "mixed", said)
    mixture = logits(folder / "adapter", fair, [0.75, 0.25, 0.0])
    close(logits(mixed, fair, None), mixture, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(mixture, logits(alike, fair, None), atol=1e-4)
    for wanted, words in (
        (["lite"], "light"), (["light=x"], "no number"), (["light=-1"], "at least 0"),
        (["light=0"], "one above"), (["light", "heavy"], "NAME=WEIGHT"),
    ):  # fmt: skip
        with pytest.raises(ConfigurationError, match=words):
            export_group(folder, wanted, None, said)
    with pytest.raises(ModelError, match="is a LORA adapter"):
        export_group(light, [], None, said)
    with pytest.raises(ModelError, match="no adapter to read"):
        export_group(tmp_path, [], None, said)


def test_the_models_card_says_how_to_use_groups(fair: Config) -> None:
    folder = run(fair | {"num-server-rounds": 1})
    card = (folder / "adapter" / "README.md").read_text()
    code = card.split("```python\n")[1].split("```")[0]
    assert "accept_groups(model)" in code
    compile(code, "card", "exec")
    assert '["heavy", "light", "medium"].index("heavy")' in code
