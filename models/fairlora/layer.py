"""FairLoRA's layer: Li et al., "FairFedMed: Benchmarking Group Fairness in Federated Medical
Imaging with FairLoRA", IEEE TMI 2025, https://arxiv.org/abs/2508.00873

A linear layer W_0 changes by U diag(s) V, in rows:

    y = x W_0^T + (alpha / r) ((x U) * s) V,    s = sum_g pi_g S_g

U of shape (in, r) and V (r, out) are every group's; S of shape (groups, r) holds a row of singular
values for each. pi is soft, in training and afterwards: `own` (0.7) for a sample's own group, the
others share the rest. A sample of unknown group has pi uniform, and with one group pi is 1.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTunerLayer, _get_in_out_features
from torch import Tensor, nn

from models.errors import ModelError


def initial_s(rank: int, groups: int, init: str) -> Tensor:
    """Return S before training, shape (groups, rank).

    ``same+cycle`` is the paper's code's: the first half falls from 0.5 to 0.1 and is the same for
    all groups, the second is a fifth of that, shifted in a circle by another number of places for
    each group. ``same`` falls from 1 to 0.1 for all; ``cycle-shift`` shifts that; ``lora`` is 1.

    Raises
    ------
    ModelError
        See `check_initial`.
    """
    check_initial(rank, groups, init)
    if init == "lora":
        return torch.ones(groups, rank)
    if init != "same+cycle":
        falling = torch.linspace(1.0, 0.1, rank)
        step = rank // groups if init == "cycle-shift" else 0
        return torch.stack([falling.roll(-g * step) for g in range(groups)])
    half = torch.linspace(0.5, 0.1, rank // 2)
    step = (rank // 2) // groups
    shifted = torch.stack([half.roll(-g * step) for g in range(groups)])
    return torch.cat([half.expand(groups, -1), 0.2 * shifted], dim=1)


def check_initial(rank: int, groups: int, init: str) -> None:
    """Refuse first values of S that would not be what their name says.

    Raises
    ------
    ModelError
        A shift with more groups than values, ``same+cycle`` with an odd number of values.
    """
    if init == "same+cycle" and (rank % 2 or rank < groups):
        raise ModelError(
            f"adapter-args: rank = {rank} with init='same+cycle' and {groups} groups; "
            "allowed: an even number, at least one a group"
        )
    if init == "cycle-shift" and rank < groups:
        raise ModelError(
            f"adapter-args: rank = {rank} with init='cycle-shift'; at least {groups}, one a group"
        )


def mixture(groups: Tensor | None, count: int, own: float) -> Tensor:
    """Return pi, shape (batch, count) or (1, count) where nothing is known of the batch.

    Parameters
    ----------
    groups : tensor or None
        Whole numbers of shape (batch,), an unknown group where they name none of the `count`; or pi
        itself, shape (batch, count).
    count : int
        Number of groups.
    own : float
        pi of a sample's own group.
    """
    if groups is None:
        return torch.full((1, count), 1.0 / count)
    if groups.is_floating_point():
        return groups
    if count == 1:
        return torch.ones(len(groups), 1, device=groups.device)
    mine = groups[:, None] == torch.arange(count, device=groups.device)
    known = torch.where(mine, own, (1.0 - own) / (count - 1))
    return torch.where(mine.any(dim=1, keepdim=True), known, 1.0 / count)


class BatchGroups:
    """The groups of the batch that is in the model now; one for all its layers."""

    def __init__(self) -> None:
        self._groups: Tensor | None = None
        self._known: dict[tuple[int, float, torch.device], Tensor] = {}

    def set(self, groups: Tensor | None) -> None:
        """Take the groups of the next batch.

        They stay until then: a layer that is computed again for its gradient needs them too.
        """
        self._groups = groups
        self._known = {}

    def mixture(self, count: int, own: float, device: torch.device) -> Tensor:
        """Return pi of the batch."""
        key = count, own, device
        if key not in self._known:
            self._known[key] = mixture(self._groups, count, own).to(device)
        return self._known[key]


class FairLoraLinear(nn.Module, BaseTunerLayer):
    """A linear layer (or GPT-2's Conv1D) with one or several FairLoRA adapters."""

    adapter_layer_names = ("fairlora_U", "fairlora_S", "fairlora_V")
    other_param_names = ("fairlora_scaling", "fairlora_own")

    base_layer: nn.Module
    batch: BatchGroups
    active_adapters: list[str]

    def __init__(self, base_layer: nn.Module, batch: BatchGroups) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.fairlora_U = nn.ParameterDict()
        self.fairlora_S = nn.ParameterDict()
        self.fairlora_V = nn.ParameterDict()
        self.fairlora_scaling: dict[str, float] = {}
        self.fairlora_own: dict[str, float] = {}
        self.batch = batch
        self._disable_adapters = False
        self.merged_adapters: list[str] = []
        self.in_features, self.out_features = _get_in_out_features(self.get_base_layer())  # type: ignore[operator]

    def update_layer(self, name: str, config: Any) -> None:
        """Add an adapter, with its initial values."""
        rank, groups = config.r, max(1, len(config.groups))
        u, v = torch.zeros(rank, self.in_features), torch.zeros(rank, self.out_features)
        if config.init == "lora":
            nn.init.kaiming_uniform_(u, a=math.sqrt(5))
        else:
            nn.init.normal_(v)
        self.fairlora_U[name] = nn.Parameter(u.T.contiguous())
        self.fairlora_S[name] = nn.Parameter(initial_s(rank, groups, config.init))
        self.fairlora_V[name] = nn.Parameter(v)
        self.fairlora_scaling[name] = config.alpha / rank
        self.fairlora_own[name] = config.own
        self._move_adapter_to_device_of_base_layer(name)  # type: ignore[operator]
        self.set_adapter(self.active_adapters)  # type: ignore[operator]

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Return y of x, shape (batch, ..., in).

        The first axis may be a multiple of the batch, as where windows of an image follow each
        other.
        """
        y: Tensor = self.base_layer(x, *args, **kwargs)
        if self.disable_adapters:
            return y
        for name in self.active_adapters:
            if name not in self.fairlora_U:
                continue
            u, s_, v = self.fairlora_U[name], self.fairlora_S[name], self.fairlora_V[name]
            pi = self.batch.mixture(len(s_), self.fairlora_own[name], x.device).to(s_.dtype)
            s = _as_rows_of(x, pi @ s_)
            change = (((x.to(u.dtype) @ u) * s) @ v) * self.fairlora_scaling[name]
            y = y + change.to(y.dtype)
        return y

    def __repr__(self) -> str:
        return f"fairlora.{super().__repr__()}"


def _as_rows_of(x: Tensor, s: Tensor) -> Tensor:
    """Shape s, (batch, r), to go with x, (batch x n, ..., in)."""
    if len(s) not in (1, len(x)):
        if len(x) % len(s):
            raise ModelError(
                f"a layer's input has {len(x)} rows for a batch of {len(s)} groups; FairLoRA needs "
                "layers whose first axis is the batch: choose others with adapter-args='targets'"
            )
        s = s.repeat_interleave(len(x) // len(s), dim=0)
    return s.view(len(s), *(1,) * (x.dim() - 2), s.shape[-1])
