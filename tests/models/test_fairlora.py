"""FairLoRA's adapter: the paper's formula sample by sample, first values, PEFT's own folder."""

from __future__ import annotations

import copy
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from torch import nn
from transformers.pytorch_utils import Conv1D

from models.adapters import make_adapter
from models.errors import ConfigurationError, ModelError
from models.fairlora import FairLoraConfig, FairLoraLinear
from models.fairlora.layer import initial_s, mixture
from models.fairlora.tuner import accept_groups


class Small(nn.Module):
    """Two linear layers over sequences; the second is GPT-2's kind."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(5, 6)
        self.second = Conv1D(4, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(torch.tanh(self.first(x)))


def adapted(base: nn.Module, **options: object) -> PeftModel:
    config = FairLoraConfig(
        **{"r": 4, "groups": ["a", "b", "c"], "target_modules": ["first", "second"], **options}
    )
    model = get_peft_model(base, config)
    accept_groups(model)
    return model


def randomised(model: PeftModel, seed: int = 0) -> PeftModel:
    torch.manual_seed(seed)
    for layer in model.modules():
        if isinstance(layer, FairLoraLinear):
            for part in (layer.fairlora_U, layer.fairlora_S, layer.fairlora_V):
                part["default"].data.normal_()
    return model.eval()


def official(layer: FairLoraLinear, x: torch.Tensor, group: int | None, own: float) -> torch.Tensor:
    """The paper's code for one sample of a known group, or of none."""
    u, s, v = (part["default"] for part in (layer.fairlora_U, layer.fairlora_S, layer.fairlora_V))
    count = len(s)
    if group is None:
        pi = torch.full((count,), 1 / count)
    else:
        pi = torch.full((count,), (1 - own) / (count - 1))
        pi[group] = own
    weight = u @ torch.diag((pi[:, None] * s).sum(0)) @ v
    return layer.base_layer(x) + layer.fairlora_scaling["default"] * x @ weight


@pytest.mark.parametrize("own", [0.7, 1.0])
def test_the_papers_formula_sample_by_sample(own: float) -> None:
    model = randomised(adapted(Small(), alpha=2.0, own=own))
    x = torch.randn(4, 7, 5)
    found = model(x, groups=torch.tensor([2, 0, -1, 1]))
    for row, group in enumerate((2, 0, None, 1)):
        first, second = model.base_model.model.first, model.base_model.model.second
        expected = official(second, torch.tanh(official(first, x[row], group, own)), group, own)
        torch.testing.assert_close(found[row], expected)
    torch.testing.assert_close(
        model(x), torch.stack([model(x[i : i + 1], groups=torch.tensor([-1]))[0] for i in range(4)])
    )


def test_one_group_is_one_shared_s() -> None:
    model = randomised(adapted(Small(), groups=["all"]))
    x = torch.randn(3, 5)
    torch.testing.assert_close(model(x, groups=torch.tensor([0, -1, 0])), model(x))


def test_mixtures() -> None:
    groups = torch.tensor([1, -1])
    torch.testing.assert_close(
        mixture(groups, 3, 0.7), torch.tensor([[0.15, 0.7, 0.15], [1 / 3, 1 / 3, 1 / 3]])
    )
    torch.testing.assert_close(mixture(groups, 1, 0.7), torch.ones(2, 1))
    torch.testing.assert_close(mixture(torch.tensor([3, 9]), 3, 1.0), torch.full((2, 3), 1 / 3))
    torch.testing.assert_close(mixture(None, 4, 0.7), torch.full((1, 4), 0.25))
    torch.testing.assert_close(mixture(torch.tensor([[0.2, 0.8]]), 2, 0.7)[0, 1], torch.tensor(0.8))


def test_rows_that_are_windows_of_a_batch() -> None:
    model = randomised(adapted(Small(), target_modules=["first"]))
    x = torch.randn(6, 5)  # a batch of two, three rows each
    found = model(x, groups=torch.tensor([0, 2]))
    apart = [model(x[3 * k : 3 * k + 3], groups=torch.tensor([g])) for k, g in enumerate((0, 2))]
    torch.testing.assert_close(found, torch.cat(apart))
    with pytest.raises(ModelError, match="6 rows for a batch of 4 groups"):
        model(x, groups=torch.tensor([0, 1, 2, 0]))


def test_first_values_of_the_papers_code() -> None:
    expected = [
        [0.5, 0.3, 0.1, 0.1, 0.06, 0.02],
        [0.5, 0.3, 0.1, 0.06, 0.02, 0.1],
        [0.5, 0.3, 0.1, 0.02, 0.1, 0.06],
    ]
    np.testing.assert_allclose(initial_s(6, 3, "same+cycle"), expected, atol=1e-7)
    # 6 // 2 // 2 = 1 place for each of two groups
    np.testing.assert_allclose(initial_s(6, 2, "same+cycle"), expected[:2], atol=1e-7)
    np.testing.assert_allclose(initial_s(4, 2, "same"), [[1, 0.7, 0.4, 0.1]] * 2, atol=1e-7)
    np.testing.assert_allclose(
        initial_s(4, 2, "cycle-shift"), [[1, 0.7, 0.4, 0.1], [0.4, 0.1, 1, 0.7]], atol=1e-7
    )
    model = adapted(Small())
    x = torch.randn(2, 5)
    torch.testing.assert_close(model(x), model.base_model.model.second.base_layer(
        torch.tanh(model.base_model.model.first.base_layer(x))))  # fmt: skip
    assert model.base_model.model.first.fairlora_V["default"].std() > 0.5


@pytest.mark.parametrize(("rank", "groups", "init"), [(5, 2, "same+cycle"), (2, 3, "cycle-shift")])
def test_ranks_that_cannot_be_shifted_are_refused(rank: int, groups: int, init: str) -> None:
    with pytest.raises(ModelError, match=re.escape(f"rank = {rank} with init='{init}'")):
        initial_s(rank, groups, init)


def test_loras_first_values_give_loras_steps() -> None:
    base = Small()
    lora = get_peft_model(
        copy.deepcopy(base), LoraConfig(r=4, lora_alpha=2, target_modules=["first"])
    )
    fair = adapted(copy.deepcopy(base), alpha=2.0, init="lora", target_modules=["first"])
    x, groups = torch.randn(8, 5), torch.randint(0, 3, (8,))
    ours, theirs = fair.base_model.model.first, lora.base_model.model.first
    bound = 5**-0.5  # as of a linear layer of 5 inputs
    for first in (ours.fairlora_U["default"], theirs.lora_A["default"].weight):
        assert 0.8 * bound < float(first.detach().abs().max()) <= bound
    ours.fairlora_U["default"].data = theirs.lora_A["default"].weight.data.T.clone()
    assert float(ours.fairlora_V["default"].detach().abs().max()) == 0.0
    for _ in range(3):
        losses = [fair(x, groups=groups).square().sum(), lora(x).square().sum()]
        torch.testing.assert_close(*losses)
        for loss, u, v in zip(
            losses,
            (ours.fairlora_U["default"], theirs.lora_A["default"].weight),
            (ours.fairlora_V["default"], theirs.lora_B["default"].weight),
            strict=True,
        ):
            u.grad = v.grad = None
            loss.backward()
            with torch.no_grad():
                u -= 0.05 * u.grad
                v -= 0.05 * v.grad


def test_a_saved_folder_comes_back_to_the_bit(tmp_path: Path) -> None:
    base = Small()
    model = randomised(adapted(copy.deepcopy(base), alpha=3.0, own=0.9))
    model.save_pretrained(tmp_path)
    again = PeftModel.from_pretrained(base, tmp_path).eval()
    accept_groups(again)
    x, groups = torch.randn(3, 5), torch.tensor([1, 0, -1])
    assert torch.equal(model(x, groups=groups), again(x, groups=groups))
    assert again.peft_config["default"].groups == ["a", "b", "c"]
    assert sorted(get_peft_model_state_dict(again)) == [
        f"base_model.model.{layer}.fairlora_{letter}"
        for layer in ("first", "second")
        for letter in "SUV"
    ]


def test_groups_stay_for_layers_that_are_computed_again() -> None:
    model = randomised(adapted(Small(), target_modules=["first"]))
    x, groups = torch.randn(3, 5), torch.tensor([0, 1, 2])
    found = model(x, groups=groups)
    torch.testing.assert_close(model.base_model.model(x), found)
    assert not torch.allclose(model(x), found)


def test_other_layers_and_options_are_refused() -> None:
    with pytest.raises(ModelError, match="goes on linear layers, and 'e' is a Embedding"):
        adapted(nn.ModuleDict({"e": nn.Embedding(3, 4)}), target_modules=["e"])
    with pytest.raises(ConfigurationError, match="own"):
        make_adapter("fairlora", {"own": 0.0})
    kind = make_adapter("fairlora", {"groups": ["a", "b"], "rank": 6})
    assert "rank" not in kind.facts()
    assert kind.facts()["groups"] == '["a", "b"]'
