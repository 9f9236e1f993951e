"""Which layers of a model an adapter is for, where nobody names them."""

from __future__ import annotations

from typing import Any

from models.errors import ModelError

_ATTENTION = (
    ("q_proj", "v_proj"),
    ("query", "value"),
    ("q_lin", "v_lin"),
    ("q", "v"),
    ("query_key_value",),
    ("qkv_proj",),
    ("qkv",),
    ("Wqkv",),
    ("c_attn",),
)


def linear_names(module: Any) -> set[str]:
    """Return the last parts of the names of a model's linear layers."""
    import torch

    kinds: tuple[type, ...] = (torch.nn.Linear,)
    found = {n.rpartition(".")[2] for n, m in module.named_modules() if isinstance(m, kinds)}
    conv1d = {
        n.rpartition(".")[2] for n, m in module.named_modules() if type(m).__name__ == "Conv1D"
    }
    return found | conv1d


def attention_targets(module: Any) -> tuple[str, ...]:
    """Return the family's query and value projections.

    Raises
    ------
    ModelError
        None of the known names is there; lists the linear layers to choose from.
    """
    names = linear_names(module)
    for family in _ATTENTION:
        if names.issuperset(family):
            return family
    raise ModelError(
        f"no query and value projections known in {type(module).__name__}; name the layers: "
        f"adapter-args='targets=\"...\"' with some of {', '.join(sorted(names))}"
    )


def family_targets(module: Any) -> tuple[str, ...]:
    """Return the layers that LoRA usually adapts in this model family.

    PEFT's own table goes first; a family that is not in it, or whose layers have other names here,
    has its query and value projections adapted.

    Raises
    ------
    ModelError
        As `attention_targets`.
    """
    from peft.utils.constants import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING

    family = getattr(getattr(module, "config", None), "model_type", "")
    known = TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING.get(family)
    if isinstance(known, list) and linear_names(module).issuperset(known):
        return tuple(known)
    return attention_targets(module)
