"""Features of one length from models of any width: a trained linear layer before the last one.

It belongs to the head, so it stays with the client wherever the head does. Where clients' models
differ in width it aligns them; and where a model's own features are bounded, as behind the tanh of
BERT's pooler, it lets them reach prototypes and anchors of any size.
"""

from __future__ import annotations

import torch

from models.errors import ModelError
from models.tasks import LoadedBase


def projected(loaded: LoadedBase, labels: int, features: int, seed: int) -> LoadedBase:
    """Return a base whose last layer is two: to `features`, and from there to the labels.

    Parameters
    ----------
    loaded : LoadedBase
        Its module is changed.
    labels : int
    features : int
        D.
    seed : int
        Of both layers' first numbers.

    Raises
    ------
    ModelError
        The head does not end in a linear layer.
    """
    found = [name for name in loaded.fresh if _is_last(loaded.module.get_submodule(name), labels)]
    if not found:
        raise ModelError(
            f"model-args: feature-dim = {features} needs a head that ends in a linear layer, and "
            f"{type(loaded.module).__name__} has none; leave it out"
        )
    name = found[-1]
    layer = loaded.module.get_submodule(name)
    torch.manual_seed(seed)
    pair = torch.nn.Sequential(
        torch.nn.Linear(layer.in_features, features),
        torch.nn.Linear(features, labels, bias=layer.bias is not None),
    )
    loaded.module.set_submodule(name, pair.to(layer.weight.dtype).requires_grad_(False))
    fresh = {*loaded.fresh} - {name} | {f"{name}.0", f"{name}.1"}
    return LoadedBase(loaded.module, tuple(sorted(fresh)))


def _is_last(part: torch.nn.Module, labels: int) -> bool:
    return isinstance(part, torch.nn.Linear) and part.out_features == labels
