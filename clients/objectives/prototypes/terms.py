"""What each method adds to the loss of a client.

Equations and letters are in the server halves: `strategies.prototypes`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from pydantic import PrivateAttr
from torch.nn.functional import cross_entropy

from clients.objectives.prototypes.collecting import Collecting
from clients.objectives.prototypes.losses import distillation, margin_contrastive, pull
from models.features import head

if TYPE_CHECKING:
    from models.adapted import AdaptedModel


class TowardsRows(Collecting):
    """A term over the rows that the server sent.

    Attributes
    ----------
    weight : float
        lambda.
    """

    weight: float
    _rows: torch.Tensor = PrivateAttr()
    _known: torch.Tensor = PrivateAttr()

    def towards(self, rows: torch.Tensor, known: torch.Tensor) -> None:
        """Take the rows (C, D), and which of them mean something (C,)."""
        self._rows, self._known = rows, known


class Pull(TowardsRows):
    """FedProto's and FedTGP's lambda MSE(f(x), P_y)."""

    def term(
        self, model: AdaptedModel, f: torch.Tensor, logits: torch.Tensor, targets: torch.Tensor
    ) -> torch.Tensor:
        """Return the pull towards the prototypes."""
        return self.weight * pull(f, self._rows, self._known, targets)


class Distillation(TowardsRows):
    """FedDistill's lambda CE(g(f(x)), softmax(L_y))."""

    of_logits = True

    def term(
        self, model: AdaptedModel, f: torch.Tensor, logits: torch.Tensor, targets: torch.Tensor
    ) -> torch.Tensor:
        """Return the distillation from the mean logits; nothing while there are none."""
        if not bool(self._known.any()):
            return f.new_zeros(())
        return self.weight * distillation(logits, self._rows, self._known, targets)


class TowardsAnchors(TowardsRows):
    """FedSA's three terms over the semantic anchors.

    Attributes
    ----------
    weight, mcl, cc : float
        Of regularisation, margin-enhanced contrastive learning, classifier calibration.
    margin : float
        m of the contrastive term.
    """

    mcl: float
    cc: float
    margin: float

    def term(
        self, model: AdaptedModel, f: torch.Tensor, logits: torch.Tensor, targets: torch.Tensor
    ) -> torch.Tensor:
        """Return cc CE(g(s_c), c) + lambda MSE(f, s_y) + mcl CE(-(||f - s_c|| + m 1[c = y]), y)."""
        s = self._rows
        classes = torch.arange(len(s), device=s.device)
        calibration = cross_entropy(head(model, s), classes)
        regularisation = pull(f, s, self._known, targets)
        contrastive = margin_contrastive(f, s, self.margin, targets)
        return self.cc * calibration + self.weight * regularisation + self.mcl * contrastive
