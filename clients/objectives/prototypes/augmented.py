"""GGEUR's objective: real features, and others drawn around them along the shape of their class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Self

import torch
from pydantic import PrivateAttr
from torch.nn.functional import cross_entropy

from clients.objectives.base import AroundObjective, Objective
from models.features import features, head

if TYPE_CHECKING:
    from models.adapted import AdaptedModel


class AlongGeometry(AroundObjective):
    """CE of f(x) and of f(x) + sum_i eps_i row_{y,i}, eps ~ N(0, 1), all counting alike.

    Another objective's loss takes the place of the CE of the real features.

    Attributes
    ----------
    draws : int
        Features drawn around a real one.
    """

    draws: int
    _rows: torch.Tensor = PrivateAttr()

    def along(self, rows: torch.Tensor, inner: Objective) -> Self:
        """Take the geometry, shape (C, directions, D), and the objective of the run."""
        self._rows = rows
        return self.around(inner)

    def loss(
        self, model: AdaptedModel, batch: Mapping[str, torch.Tensor], targets: torch.Tensor
    ) -> torch.Tensor:
        """Return the mean over real and drawn features."""
        f = features(model, batch)
        # The generator was seeded for this client and round when training began.
        noise = torch.randn(self.draws, *targets.shape, self._rows.shape[1], device=f.device)
        drawn = f + torch.einsum("sbk,bkd->sbd", noise, self._rows[targets])
        if self.plain:
            everything = torch.cat([f[None], drawn]).flatten(0, 1)
            return cross_entropy(head(model, everything), targets.repeat(self.draws + 1))
        others = cross_entropy(head(model, drawn.flatten(0, 1)), targets.repeat(self.draws))
        real = super().loss(model, batch, targets)
        return (real + self.draws * others) / (self.draws + 1)
