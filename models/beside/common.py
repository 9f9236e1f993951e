"""A second model beside the client's own, the same for all clients: FML's meme, FedKD's mentee."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from models.adapted import AdaptedModel
from models.beside.extended import Beside, ExtendedModel
from models.beside.keys import SHARED, W_KEY
from models.beside.projection import uniform
from models.errors import ClientError
from models.features import feature_size, features, head


@dataclass(frozen=True)
class Views:
    """What both models make of a batch.

    Attributes
    ----------
    own, common : torch.Tensor, shape (batch, labels)
        Logits.
    own_hidden, common_hidden : torch.Tensor, shape (batch, D of the own model)
        Features; those of the common model are mapped by W_h. Both are the own model's where there
        is no W_h.
    """

    own: torch.Tensor
    common: torch.Tensor
    own_hidden: torch.Tensor
    common_hidden: torch.Tensor


class PairBeside(Beside):
    """The client's own model, which predicts, and the common one.

    Parameters
    ----------
    own, common : AdaptedModel
    hidden : bool
        Whether W_h maps the common model's features to the own ones.
    seed : int
    """

    def __init__(self, own: AdaptedModel, common: AdaptedModel, hidden: bool, seed: int) -> None:
        super().__init__(own)
        self.of_common = common
        self.common = common.module
        shape = (feature_size(own), feature_size(common))
        self.w_h = torch.nn.Parameter(uniform(shape, seed, "W_h")) if hidden else None

    def views(self, batch: Mapping[str, torch.Tensor]) -> Views:
        """Return the logits of both models, and their features where they are compared."""
        f, g = features(self.of, batch), features(self.of_common, batch)
        mapped = f if self.w_h is None else g @ self.w_h.T
        return Views(head(self.of, f), head(self.of_common, g), f, mapped)


@dataclass(frozen=True)
class CommonModel:
    """The run's own model beside the client's.

    Attributes
    ----------
    hidden : bool
        Whether features are compared too.
    """

    hidden: bool = False

    def extend(
        self, model: AdaptedModel, common: Callable[[], AdaptedModel], seed: int
    ) -> ExtendedModel:
        """Return both models as one.

        Raises
        ------
        ClientError
            ``model`` where the two read their inputs differently.
        """
        other = common()
        for name in ("image_size", "num_channels", "vocab_size"):
            found, wanted = (getattr(m.module.config, name, None) for m in (model, other))
            if found != wanted:
                raise ClientError(
                    "model", f"{name} is {found}, the run's model has {wanted}: they read one batch"
                )
        module = PairBeside(model, other, self.hidden, seed)
        beside = {f"{SHARED}{key}": place for key, place in other.places.items()}
        if module.w_h is not None:
            beside[W_KEY] = module.w_h
        return ExtendedModel(model, module, beside)
