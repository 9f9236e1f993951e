"""Client halves that classify by the nearest global prototype: FedProto, FedTGP and FedSA.

Equations and papers are in the server halves, `strategies.prototypes`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from clients.trainers.base import ClientRound
from clients.trainers.prototypes.base import OWN, Prototypical, rows_and_mask
from models.prototypes.tables import ANCHORS, PRESENT, PROTOTYPES, nearest_distances

if TYPE_CHECKING:
    import torch

    from clients.evaluation import Rule
    from clients.objectives.prototypes.collecting import ClassSums
    from clients.objectives.prototypes.terms import TowardsRows
    from models.adapted import AdaptedModel


class Nearest(Prototypical):
    """FedProto and FedTGP: the features are pulled towards the prototypes of their classes."""

    about: ClassVar[str] = "pulls features towards prototypes, returns class means"
    lambda_: Annotated[float, Field(alias="lambda", ge=0, description="weight of the pull")] = 1.0
    inference: Annotated[
        Literal["prototype", "head"], Field(description="the rule behind 'accuracy'")
    ] = "prototype"
    towards: ClassVar[str] = PROTOTYPES

    def objective(self, work: ClientRound) -> TowardsRows:
        """Return the pull towards the rows that the server sent."""
        import torch

        objective = self.terms(work)
        rows, known = rows_and_mask(work, self.towards)
        device = work.model.device
        objective.towards(torch.tensor(rows, device=device), torch.tensor(known, device=device))
        return objective

    def terms(self, work: ClientRound) -> TowardsRows:
        """Return the method's own terms."""
        from clients.objectives.prototypes.terms import Pull

        return Pull(weight=self.lambda_)

    def rule_of(self, work: ClientRound) -> Rule | None:
        """Classify by the nearest prototype beside the head; by the head while there is none."""
        rows, known = rows_and_mask(work, PROTOTYPES)
        self.shape(work)
        if not known.any():
            return None
        return nearest_rule(rows, known, first=self.inference == "prototype")


class TowardsAnchors(Nearest):
    """FedSA: anchors regularise, contrast with a margin, and calibrate the head."""

    about: ClassVar[str] = "learns towards semantic anchors, returns class means"
    towards: ClassVar[str] = ANCHORS
    lambda_: Annotated[
        float, Field(alias="lambda", ge=0, description="weight of regularisation")
    ] = 10.0
    mcl: Annotated[float, Field(ge=0, description="weight of contrastive learning")] = 1.0
    cc: Annotated[float, Field(ge=0, description="weight of classifier calibration")] = 1.0

    def terms(self, work: ClientRound) -> TowardsRows:
        """Return the three terms, with this round's margin."""
        from clients.objectives.prototypes.terms import TowardsAnchors as Terms

        kept = work.kept.arrays if work.kept is not None else {}
        m = margin(kept, work.start[ANCHORS])
        return Terms(weight=self.lambda_, mcl=self.mcl, cc=self.cc, margin=m)

    def remembered(self, sums: ClassSums) -> dict[str, npt.NDArray[np.generic]]:
        """Keep the client's own prototypes for the margin of its next round, all classes."""
        return {
            f"{OWN}{PROTOTYPES}": sums.means().astype(np.float32),
            f"{OWN}{PRESENT}": (sums.examples > 0).astype(np.float32),
        }


def margin(kept: Mapping[str, npt.NDArray[np.generic]], anchors: npt.NDArray[np.floating]) -> float:
    """Return m = max(local margin, global margin).

    Both are means over classes of the distance to the nearest other class: of the client's own
    prototypes (0 before it has any; without effect where it has one class), and of the anchors.
    """
    local = 0.0
    if f"{OWN}{PROTOTYPES}" in kept:
        own = np.asarray(kept[f"{OWN}{PROTOTYPES}"], np.float64)
        own = own[np.asarray(kept[f"{OWN}{PRESENT}"], np.float64) > 0]
        local = float(nearest_distances(own).mean()) if len(own) > 1 else -np.inf
    return max(local, float(nearest_distances(anchors).mean()))


def nearest_rule(
    rows: npt.NDArray[np.floating], known: npt.NDArray[np.bool_], *, first: bool
) -> Rule:
    """Return the rule: the class of the nearest row that is known."""
    import torch

    from clients.evaluation import Rule
    from clients.objectives.prototypes.losses import nearest
    from models.features import features, head

    def classify(
        model: AdaptedModel, batch: Mapping[str, torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        f = features(model, batch)
        table = torch.tensor(rows, device=f.device)
        return head(model, f), nearest(f, table, torch.tensor(known, device=f.device))

    return Rule("prototype", classify, first)
