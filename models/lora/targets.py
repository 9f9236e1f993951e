"""Which layers of a model an adapter is for, where nobody names them."""

from __future__ import annotations

from collections.abc import Collection
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


def untie(module: Any, targets: Collection[str]) -> None:
    """Give the output layer weights of its own where an adapter is for it, or for the embeddings.

    While both share one array, what is merged into one of them would change the other too.
    """
    import torch

    write = module.get_output_embeddings() if hasattr(module, "get_output_embeddings") else None
    if write is None:
        return
    read = module.get_input_embeddings()
    if write.weight is not read.weight:
        return
    names = [name for name, part in module.named_modules() if part is read or part is write]
    if any(f".{name}".endswith(f".{target}") for name in names for target in targets):
        write.weight = torch.nn.Parameter(read.weight.detach().clone(), requires_grad=False)
        module.config.get_text_config().tie_word_embeddings = False
        module.config.tie_word_embeddings = False
