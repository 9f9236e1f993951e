"""A model in two halves: f, up to the input of its last linear layer, and the head behind it.

    logits = head(model, features(model, batch))

to the bit, in training (dropout before the head belongs to f) as in evaluation. Gradients reach the
adapter through f and the head's own numbers through `head`; both accumulate in ``model.flat.grad``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

import torch

from models.errors import ModelError

if TYPE_CHECKING:
    from models.adapted import AdaptedModel


def last_layer(model: AdaptedModel) -> torch.nn.Linear:
    """Return the linear layer that makes the logits; it is trained.

    Raises
    ------
    ModelError
        The head does not end in a linear layer of as many outputs as there are labels.
    """
    labels = int(model.schema.facts.get("labels", 0)) or int(model.module.config.num_labels)
    found = [
        part
        for name, part in model.module.named_modules()
        if ".modules_to_save.default" in name
        and isinstance(part, torch.nn.Linear)
        and part.out_features == labels
    ]
    if not found:
        raise ModelError(
            f"no trained linear layer of {type(model.module.base_model.model).__name__} has "
            f"{labels} outputs; methods that work on features need a head that ends in one"
        )
    return found[-1]


def feature_size(model: AdaptedModel) -> int:
    """Return D, the number of features of an example."""
    return last_layer(model).in_features


def features(model: AdaptedModel, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Return f(x) of a batch, shape (batch, D), float32.

    Parameters
    ----------
    model : AdaptedModel
        With the numbers it was given last; in training or evaluation mode, as it stands.
    batch : mapping
        The model's inputs, each of shape (batch, ...).
    """
    seen: list[torch.Tensor] = []

    def look(_: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        seen.append(inputs[0].float())

    # The last hook to be registered: the layer's input is float32 by then.
    hook = last_layer(model).register_forward_pre_hook(look)
    try:
        model.module(**batch)
    finally:
        hook.remove()
    (found,) = seen
    return found if found.ndim == 2 else _last_token(model, batch, found)


def head(model: AdaptedModel, f: torch.Tensor) -> torch.Tensor:
    """Return the logits of features, shape (batch, labels)."""
    return cast("torch.Tensor", last_layer(model)(f))


def _last_token(
    model: AdaptedModel, batch: Mapping[str, torch.Tensor], tokens: torch.Tensor
) -> torch.Tensor:
    """Return the features of each text's last token that is no padding, as decoders classify."""
    ids = batch["input_ids"]
    real = ids != model.module.config.pad_token_id
    places = torch.arange(ids.shape[1], device=ids.device)
    last = (places * real).argmax(-1)
    return tokens[torch.arange(len(ids), device=ids.device), last]
