"""FairLoRA as a PEFT tuner: puts its layers in, and hands them the groups of each batch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTuner
from torch import nn
from transformers.pytorch_utils import Conv1D

from models.errors import ModelError
from models.fairlora.layer import BatchGroups, FairLoraLinear
from models.fairness.counts import GROUPS


class FairLoraModel(BaseTuner):
    """A model whose linear layers have FairLoRA adapters.

    The PEFT model around it takes ``groups``, whole numbers of shape (batch,), beside the inputs;
    -1 is a group that is not known, and without ``groups`` all are.
    """

    prefix: str = "fairlora_"
    tuner_layer_cls = FairLoraLinear
    target_module_mapping: dict[str, list[str]] = {}  # noqa: RUF012 (PEFT's own declaration)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.batch = BatchGroups()
        super().__init__(*args, **kwargs)

    def _create_and_replace(
        self,
        peft_config: Any,
        adapter_name: str,
        target: nn.Module,
        target_name: str,
        parent: nn.Module,
        current_key: str,
        parameter_name: str | None = None,
    ) -> None:
        if isinstance(target, FairLoraLinear):
            target.update_layer(adapter_name, peft_config)
            return
        if not isinstance(target, nn.Linear | Conv1D):
            raise ModelError(
                f"adapter 'fairlora' goes on linear layers, and '{current_key}' is a "
                f"{type(target).__name__}"
            )
        layer = FairLoraLinear(target, self.batch)
        layer.set_adapter([adapter_name])  # type: ignore[operator]
        layer.update_layer(adapter_name, peft_config)
        if adapter_name not in self.active_adapters:
            layer.requires_grad_(False)
        self._replace_module(parent, target_name, layer, target)

    @contextmanager
    def _enable_peft_forward_hooks(self, *args: Any, **kwargs: Any) -> Iterator[None]:
        groups = kwargs.get(GROUPS)
        self.batch.set(groups if isinstance(groups, torch.Tensor) else None)
        yield


def accept_groups(model: Any) -> None:
    """Let a PEFT model with FairLoRA take ``groups`` beside its inputs."""
    model.special_peft_forward_args.add(GROUPS)
