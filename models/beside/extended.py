"""A model with trainable modules beside it, all in one flat buffer.

What methods for clients with different base models share cannot be a part of those: it is a small
module, or a whole second model, beside the client's own. Both are trained, loaded and read as one
adapted model, whose arrays carry the names of the client's own and ``shared.`` or ``personal.``
before those beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from models.adapted import AdaptedModel


class Extension(Hashable, Protocol):
    """What a method puts beside a client's model; equal ones are built once."""

    def extend(
        self, model: AdaptedModel, common: Callable[[], AdaptedModel], seed: int
    ) -> ExtendedModel:
        """Return the model with what is beside it.

        Parameters
        ----------
        model : AdaptedModel
            The client's own; it is used up.
        common : callable
            Builds the run's own model, which is the same for all clients.
        seed : int
            Of initial values, the same on every client.
        """


@dataclass(frozen=True)
class Output:
    """What a model returns: logits, shape (batch, labels)."""

    logits: torch.Tensor


class Beside(torch.nn.Module):
    """A client's own model and what is beside it; forward gives what the client predicts.

    Parameters
    ----------
    own : AdaptedModel
    """

    def __init__(self, own: AdaptedModel) -> None:
        super().__init__()
        self.of = own
        self.own = own.module

    def forward(self, **batch: torch.Tensor) -> Output:
        """Return the client's prediction."""
        return Output(self.predict(batch))

    def predict(self, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return the logits of the client's own model."""
        logits: torch.Tensor = self.own(**batch).logits
        return logits


class ExtendedModel(AdaptedModel):
    """A client's own model and parameters beside it, as one flat buffer.

    Parameters
    ----------
    own : AdaptedModel
        Its flat buffer is given up for the common one.
    module : Beside
    beside : mapping of str to torch.nn.Parameter
        By key; ``shared.`` or ``personal.`` in front.
    """

    module: Any

    def __init__(
        self, own: AdaptedModel, module: Beside, beside: Mapping[str, torch.nn.Parameter]
    ) -> None:
        self.kind = own.kind
        self.own = own
        self.module = module.to(own.device)
        self._config = own._config
        self.device = own.device
        self.base = own.base
        self._bind({**own.places, **beside}, own.schema.facts)
        del own.flat

    def keep_activations(self, wanted: bool) -> None:
        """Keep activations of the client's own model, or compute them again."""
        self.own.keep_activations(wanted)
