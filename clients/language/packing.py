"""Whether a model keeps texts apart that share a row."""

from __future__ import annotations

import torch

from models.adapted import AdaptedModel
from models.errors import ModelError

_LENGTH = 4


@torch.no_grad()
def require_packing(model: AdaptedModel) -> None:
    """Let the model read a text behind two others in turn, each text from position 0.

    Recurrent models, and some whose attention goes by distance, read on as if all were one text,
    and say nothing.

    Raises
    ------
    ModelError
        What is read first shows in what is read then.
    """
    places = torch.arange(_LENGTH, device=model.device)
    behind = places + 2 * _LENGTH
    ids = torch.stack([torch.cat([places + first, behind]) for first in (0, _LENGTH)])
    model.module.eval()
    try:
        logits = model.module(input_ids=ids, position_ids=places.repeat(2, 2)).logits
    except (TypeError, ValueError) as error:
        raise ModelError(f"{_refusal(model)} ({error})") from error
    one, other = logits[:, _LENGTH:]
    # In half precision a product may be rounded once more for one row than for another.
    allowed = max(1e-5, 4 * torch.finfo(logits.dtype).eps)
    if not (one - other).abs().max() <= allowed * one.abs().max():
        raise ModelError(_refusal(model))


def _refusal(model: AdaptedModel) -> str:
    name = type(model.module.get_base_model()).__name__
    return (
        f"packing=true in task-args: {name} does not keep the texts of a row apart; leave packing "
        "out, and texts are padded"
    )
